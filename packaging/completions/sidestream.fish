# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_sidestream_global_optspecs
    string join \n c/config= upstream= jwt-secret= listen= h/help V/version
end

function __fish_sidestream_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_sidestream_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_sidestream_using_subcommand
    set -l cmd (__fish_sidestream_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c sidestream -n "__fish_sidestream_needs_command" -s c -l config -d 'The configuration file' -r -F
complete -c sidestream -n "__fish_sidestream_needs_command" -l upstream -d 'The app: http://HOST:PORT or unix:PATH' -r
complete -c sidestream -n "__fish_sidestream_needs_command" -l jwt-secret -d 'What signs the tokens of streams (HS256): env:NAME, file:PATH or the secret itself' -r
complete -c sidestream -n "__fish_sidestream_needs_command" -l listen -d 'Where to listen: HOST:PORT or unix:PATH [default: 0.0.0.0:8080]' -r
complete -c sidestream -n "__fish_sidestream_needs_command" -s h -l help -d 'Print help'
complete -c sidestream -n "__fish_sidestream_needs_command" -s V -l version -d 'Print version'
complete -c sidestream -n "__fish_sidestream_needs_command" -a "run" -d 'Run the server: from a configuration file, or from --upstream and --jwt-secret alone'
complete -c sidestream -n "__fish_sidestream_needs_command" -a "demo" -d 'See it work: a page with live notifications, and the lines to try it from a terminal'
complete -c sidestream -n "__fish_sidestream_needs_command" -a "check" -d 'Check a configuration file without running it, like nginx -t'
complete -c sidestream -n "__fish_sidestream_needs_command" -a "publish" -d 'Publish an event to users or channels, through the publish socket'
complete -c sidestream -n "__fish_sidestream_needs_command" -a "listen" -d 'Print the events of a stream as they come, one JSON line each'
complete -c sidestream -n "__fish_sidestream_needs_command" -a "token" -d 'Print a development token for a user'
complete -c sidestream -n "__fish_sidestream_needs_command" -a "health" -d 'Ask a running server whether it is well, as health checks of containers do'
complete -c sidestream -n "__fish_sidestream_needs_command" -a "explain" -d 'Say why an event was or was not delivered to a user'
complete -c sidestream -n "__fish_sidestream_needs_command" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sidestream -n "__fish_sidestream_using_subcommand run" -s c -l config -d 'The configuration file' -r -F
complete -c sidestream -n "__fish_sidestream_using_subcommand run" -l upstream -d 'The app: http://HOST:PORT or unix:PATH' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand run" -l jwt-secret -d 'What signs the tokens of streams (HS256): env:NAME, file:PATH or the secret itself' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand run" -l listen -d 'Where to listen: HOST:PORT or unix:PATH [default: 0.0.0.0:8080]' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand run" -s h -l help -d 'Print help'
complete -c sidestream -n "__fish_sidestream_using_subcommand demo" -l listen -d 'Where to listen' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand demo" -s h -l help -d 'Print help'
complete -c sidestream -n "__fish_sidestream_using_subcommand check" -s c -l config -d 'The configuration file' -r -F
complete -c sidestream -n "__fish_sidestream_using_subcommand check" -s h -l help -d 'Print help'
complete -c sidestream -n "__fish_sidestream_using_subcommand publish" -l user -d 'A user to publish to. May be repeated' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand publish" -l channel -d 'A channel to publish to. May be repeated' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand publish" -l event -d 'The event\'s name; `message` without it' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand publish" -l data -d 'What is sent: JSON, or any text; `-` reads it from stdin' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand publish" -l ttl -d 'How long it stays in history, like 1h' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand publish" -l key -d 'The same key again within five minutes publishes nothing' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand publish" -l collapse -d 'Replaces the channel\'s earlier event of the same name in history' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand publish" -l socket -d 'The server\'s publish socket' -r -F
complete -c sidestream -n "__fish_sidestream_using_subcommand publish" -s h -l help -d 'Print help'
complete -c sidestream -n "__fish_sidestream_using_subcommand listen" -l token -d 'Sent as `Authorization: Bearer`' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand listen" -l last-event-id -d 'Resume from this id' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand listen" -l insecure -d 'Accept any certificate, such as a self-signed one'
complete -c sidestream -n "__fish_sidestream_using_subcommand listen" -l once -d 'End when the stream ends instead of coming back'
complete -c sidestream -n "__fish_sidestream_using_subcommand listen" -s h -l help -d 'Print help'
complete -c sidestream -n "__fish_sidestream_using_subcommand token" -l user -d 'The user, as the claim `sub`' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand token" -l secret -d 'What signs it (HS256): env:NAME, file:PATH or the secret itself' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand token" -l for -d 'How long it is good for' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand token" -l claim -d 'A further claim; the value is JSON, or else a string. May be repeated' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand token" -s h -l help -d 'Print help'
complete -c sidestream -n "__fish_sidestream_using_subcommand health" -s h -l help -d 'Print help'
complete -c sidestream -n "__fish_sidestream_using_subcommand explain" -l user -d 'The user' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand explain" -l id -d 'The event\'s id, as its publisher was told it' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand explain" -s c -l config -d 'The server\'s configuration file: its [admin] says where to ask, and the token' -r -F
complete -c sidestream -n "__fish_sidestream_using_subcommand explain" -l address -d 'Where to ask instead: http://HOST:PORT or unix:PATH' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand explain" -l token -d 'The token of [admin]: env:NAME, file:PATH or the token itself' -r
complete -c sidestream -n "__fish_sidestream_using_subcommand explain" -l json -d 'Print the server\'s answer as it is, in JSON'
complete -c sidestream -n "__fish_sidestream_using_subcommand explain" -s h -l help -d 'Print help'
complete -c sidestream -n "__fish_sidestream_using_subcommand help; and not __fish_seen_subcommand_from run demo check publish listen token health explain help" -f -a "run" -d 'Run the server: from a configuration file, or from --upstream and --jwt-secret alone'
complete -c sidestream -n "__fish_sidestream_using_subcommand help; and not __fish_seen_subcommand_from run demo check publish listen token health explain help" -f -a "demo" -d 'See it work: a page with live notifications, and the lines to try it from a terminal'
complete -c sidestream -n "__fish_sidestream_using_subcommand help; and not __fish_seen_subcommand_from run demo check publish listen token health explain help" -f -a "check" -d 'Check a configuration file without running it, like nginx -t'
complete -c sidestream -n "__fish_sidestream_using_subcommand help; and not __fish_seen_subcommand_from run demo check publish listen token health explain help" -f -a "publish" -d 'Publish an event to users or channels, through the publish socket'
complete -c sidestream -n "__fish_sidestream_using_subcommand help; and not __fish_seen_subcommand_from run demo check publish listen token health explain help" -f -a "listen" -d 'Print the events of a stream as they come, one JSON line each'
complete -c sidestream -n "__fish_sidestream_using_subcommand help; and not __fish_seen_subcommand_from run demo check publish listen token health explain help" -f -a "token" -d 'Print a development token for a user'
complete -c sidestream -n "__fish_sidestream_using_subcommand help; and not __fish_seen_subcommand_from run demo check publish listen token health explain help" -f -a "health" -d 'Ask a running server whether it is well, as health checks of containers do'
complete -c sidestream -n "__fish_sidestream_using_subcommand help; and not __fish_seen_subcommand_from run demo check publish listen token health explain help" -f -a "explain" -d 'Say why an event was or was not delivered to a user'
complete -c sidestream -n "__fish_sidestream_using_subcommand help; and not __fish_seen_subcommand_from run demo check publish listen token health explain help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
