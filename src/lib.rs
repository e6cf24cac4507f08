//! Sidestream: a reverse-proxy sidecar that ends Server-Sent-Events connections for the app behind it.
//!
//! This page is the map. It says where things live, which way they flow and what must stay true; each module's own
//! page says the rest. It is kept true: `tests/it/layers.rs` holds the tiers below against the code.
//!
//! # What it does
//!
//! It stands where nginx stood. An ordinary request goes to the app and its answer comes back ([`proxy`]). A request
//! for a *stream route* never reaches the app: Sidestream verifies the token itself ([`auth`]), keeps the connection
//! ([`stream`]), and writes to it whatever the app hands in at the publish socket ([`publish`]). So a browser tab
//! costs two kilobytes here and nothing at all in the app.
//!
//! # Threads
//!
//! ```text
//!              worker 0                       worker 1 …                  control thread
//!   ┌─────────────────────────────┐  ┌─────────────────────────┐  ┌────────────────────────────┐
//!   │ own listeners (SO_REUSEPORT)│  │ the same, all its own   │  │ publish socket, its HTTP   │
//!   │ connections, h1 and h2      │  │                         │  │ sweeping of history        │
//!   │ own connections to apps     │  │                         │  │ questions to apps, key sets│
//!   │                             │  │                         │  │ health checks              │
//!   │ own table of streams        │  │                         │  │ waiting for the end        │
//!   └──────────┬──────────────────┘  └───────────┬─────────────┘  └─────────────┬──────────────┘
//!              │ inbox                           │ inbox                        │
//!              └───────────────┬─────────────────┴──────────────────────────────┘
//!                       hub: one mutex; ids, history, who is interested
//! ```
//!
//! A [`worker`] is a thread with a current-thread runtime. Everything that it touches for a request is its own (`Rc`,
//! `Cell`, `RefCell`), so a proxied request takes no lock, unless its route has a `rate` for each address, whose table is in
//! 64 parts with a lock each; the only shared write is the count of connections. What
//! bounds streams ([`limits`]) is shared too, and is asked when one opens or ends; and what is known of the servers of an
//! upstream that has several of them or a limit ([`proxy::Standings`]): atomics, and a lock where one has failed. The
//! thread that called [`server::Server::run`] is the control thread and carries no traffic; certificates are got from authorities
//! there too ([`acme`]): what came is a file, which is read again like any other, and workers are asked for a table that is empty
//! unless an order is in flight. Files of a new configuration are read by a thread that may wait for them. A third kind of thread
//! writes the access log from a bounded queue ([`access_log`]), and where the store is on disk, a fourth writes to it and
//! delivers what it has written ([`hub::Committer`]). Where an app publishes by Redis, one more reads that ([`source`]). With
//! `[admin]` there is one for the operator, who is answered while all others are busy ([`admin`]); it asks workers for their
//! streams by a message each, which they answer in turns between deliveries (`stream/survey.rs`). Where traces are asked for,
//! one more sends them ([`trace`]).
//!
//! What a worker counts are cells of its own ([`metrics`]), plain numbers in atomics that another thread may read; they are
//! summed when somebody asks. A request is counted where its line for the access log is made (`router/account.rs`).
//!
//! # A request
//!
//! [`listener`] accepts → [`connection`] learns who the client is (from the header of the PROXY protocol, if a trusted
//! balancer is in front), counts its address, shakes hands with whom the listener serves, picks HTTP/1 or HTTP/2 by
//! ALPN, watches the deadlines → [`router`] checks the request (method, target, Host, framing, SNI), sends it on to
//! https where the listener says so, finds its route, and asks what stands before it (addresses, `maintenance`, rate,
//! password: `router/front.rs`) →
//!
//! * **proxy**: hop-by-hop fields and names with underscores go, cookies are joined, forwarding fields are replaced
//!   ([`http`]); then a turn at a server that is well, and a pooled connection to it or a new one (`proxy/pool.rs`,
//!   `proxy/balance.rs`); bodies pass through as they come. A route may strip its path's prefix and change fields, last of
//!   all (`router/proxied.rs`), and have text compressed on its way ([`compress`]), in turns of 16 KiB and flushed
//!   whenever the app pauses.
//! * **stream**: credentials become an identity, the identity a set of channels, both together a [`stream::Grant`],
//!   if no limit is in the way ([`limits`]; the rate of an address is asked before all else). A token is verified
//!   with the provider's key, a session cookie opened with the app's secret, and a ticket with our own, which a
//!   POST on the same path gave out. On HTTP/1 the connection then leaves hyper: the service never answers, the
//!   connection's task takes the socket back once nothing is left to write, and [`stream::park`] gives it to a task
//!   of a few hundred bytes. On HTTP/2 the stream is a response body. Where only the app knows a session, or keys
//!   have to be fetched, the request waits for the control thread, which asks once for all workers ([`fetch`]).
//! * **files**: the target, decoded once segment by segment, is opened beneath the route's folder by openat2, which
//!   follows no link out of it ([`files`]). What the kernel has in its caches is answered by the worker, what it has not
//!   by a thread that may wait. Small files are sent from memory after one system call has said that they are still
//!   the same; large ones go by sendfile where nothing is encrypted ([`transport::DirectFiles`]). An app hands in a file
//!   of an `internal` route by naming it in its answer, and a route may leave what is no file to the app.
//! * **publish**: a webhook's signature, a token or an identity is checked, a map makes a publication of a foreign
//!   body, and then it is one like any other.
//!
//! Whatever went wrong on the way meets HTTP in one table (`router/refusal.rs`).
//!
//! # Another configuration
//!
//! [`server::Reloads`] has the control thread read the file again. What it needs is opened and checked first; then each
//! worker is sent the new [`worker::Parts`] and makes a generation of them, with a router of its own, between two
//! requests. A request holds the generation that it began with to its answer. What did not change is taken over: apps with
//! their connections, providers with their answers, counts, buckets, files that are known. Open streams are judged by the
//! new routes and providers ([`stream::Review`]), for each remembers what let it in ([`auth::Voucher`]), and end if that was
//! taken away.
//!
//! # Another process
//!
//! On SIGUSR2 the program is started anew ([`handover`]): by a channel for its standard input it gets every listening socket, and the
//! two speak in letters. The control threads lead it: `server/upgrade.rs` is the old process's part, `server/taking_over.rs` the new
//! one's. Publications wait ([`publish::Way`]), the committer gives the store up ([`hub::Hub::lend`]), and the new process opens it; when its
//! workers accept, the old one hands over publishers who are connected and drains. What comes to it later it relays
//! ([`publish::Relay`]). Until the new one has said that it serves, all of it can be taken back.
//!
//! # A publication
//!
//! JSON → [`publish::publication`] (one parser for every door) → [`hub::Hub::publish`]. Under the hub's lock it gets
//! its id, is encoded once into an [`event::Frame`], is kept in the [`store`], and is put into the inbox of each worker
//! that has subscribers for it (with a store on disk it waits in a queue instead: a thread of its own writes what waits as
//! one batch, syncs once, and then hands it out and acknowledges it; what cannot be written is taken back, and the store
//! opened again until it can); then the lock is released and the workers are woken. A worker writes the same bytes to each
//! of its parked sockets at once, from one task ([`stream::Streams::deliver`]); what a socket does not take waits in that
//! stream's backlog, and a stream whose backlog is full ends: its client comes back with its last id
//! and gets the rest from history.
//!
//! On a route with `replay = "unread"` the hub also knows what each user has read ([`store::Marks`]): a worker says what it
//! has written, in batches, and browsers and the app say the rest ([`unread`]); the user's streams are told the same way
//! as of an event. On disk the committer writes marks as well, before the events of the same round; a word of somebody's
//! is told and answered when it is synced.
//!
//! What an app writes to Redis takes that way too ([`source`]): a channel, users' lists or a stream are read, mapped like a
//! webhook's body, and handed in under a key that is made of the entry; only when it is kept is Redis told. The hub says which
//! users have come and what they have read ([`hub::Watch`]), noted under its lock and told after it.
//!
//! Nothing is kept for each delivery. Why an event was not delivered is put together when it is asked for: from history, from
//! what the hub has noted of the last publications ([`hub::Trace`]), and from what each worker remembers of a user's streams,
//! open or ended ([`hub::Look`], which stands in its inbox like an event, and so is answered for all events before it).
//!
//! A disconnect takes the same way: under the lock the user is blocked and each worker with streams gets a
//! [`hub::Kick`] into its inbox, behind what was published before.
//!
//! # What must stay true
//!
//! * **Order.** Ids are given and events handed to inboxes under one lock, in the same order, and never before they are
//!   kept; so every worker, every stream and history have the same order.
//! * **Seams.** A stream registers, then reads history up to what its worker has handed out, then is live; an event
//!   goes out only above its cursor: once, in order, whatever the interleaving. History is read in pages, as the
//!   socket takes them, and a few pages a turn, so that thousands who come back hold up nobody.
//! * **Nothing is lost in silence.** A slow stream ends, it does not skip. A gap is told (`event: reset`). A
//!   publication that cannot be taken in is refused.
//! * **Everything has a bound** with a name: backlog, inbox, body, head, batch, keys, history, deadlines.
//! * **No lock across an await**, no system call under the hub's lock.
//! * **Nothing fails open.** A provider that finds a credential decides; a stream route without `auth` and a publish
//!   route without a check are errors of the configuration.
//! * **Tokens reach no log and no app**: targets are redacted where lines are written.
//!
//! # Tiers
//!
//! A module imports only from the tiers below its own, and nothing from beside it:
//!
//! ```text
//! main, cli
//! server
//! worker, admin
//! router, connection, listener, source
//! proxy, files, stream, publish
//! unread
//! hub, auth, acme, trace
//! store, fetch, limits, compress
//! config, http, tls, transport, handover
//! event, metrics, access_log, shutdown, systemd, clock
//! ```
//!
//! # Where this differs from the first design
//!
//! * The configuration is read by a small reader over TOML's spanned tables instead of serde's derive, so that all
//!   mistakes of a file are shown in one go, each with its place (`config/reader.rs`).
//! * A parked stream is taken from hyper whenever its socket is free; since that is only a matter of time, there is no
//!   second path for HTTP/1 in which the stream stays a hyper body.
//! * `transport` is a module of its own below the others: both the proxy's tunnels and the parked streams own sockets.
//! * Apps are spoken to by an HTTP/1.1 client of our own (`proxy`), not by hyper's: that one runs a task for each
//!   connection and hands requests and bodies over by channels, a third of the instructions of a small request.
//! * `server_names` also decide who is shown a certificate: a host that is not among them is turned away in the
//!   handshake. Without them the first certificate is for everybody, as with nginx.
//! * Where clients show certificates no session is taken up again, neither from a ticket nor from a cache: who is no
//!   longer vouched for is out with the next connection.
//! * Static files are served by code of our own and not by tower-http's `ServeDir`; `files` says why.
//! * `max_connections` of an upstream counts requests, and open tunnels, not idle connections: one that waits costs an app
//!   next to nothing, and if it counted, a worker's idle connection would keep the others from the app. HAProxy and
//!   nginx count the same way.
//! * A request of up to 4 KiB that left in one piece to an app on this machine and was met by a reset is sent again, an
//!   order too: the system resets what the app has not read, and an app that reads it reads all of it. Without that,
//!   whoever waits in the queue of a socket loses when gunicorn is stopped. Over TCP it is not so for Node, whose programs
//!   may reset a connection after they have acted.
//! * Files that are being sent take a quarter of the descriptors, over all workers, and then 503: a connection of HTTP/2
//!   may ask for hundreds. Of too many handshakes the oldest is given up, and none waits.
//! * `health` of an upstream has a `host`, since Django answers 400 to hosts that it does not know; `ca` is the authority of
//!   its servers at `https://`.
//! * Text of an app is compressed with Zstandard before Brotli where a client takes both: a third of the time for as few
//!   bytes. The libraries are called directly and not by async-compression: what comes in is a body's frames, not a
//!   reader, and turns and flushes are ours to choose.
//! * Passwords of `basic_auth` are known as they are or by a bcrypt hash; the older kinds of an htpasswd file are refused. An
//!   address list, a rate or a password is also asked for at paths that an app may take for the route's (`/%61dmin/`), while
//!   routes themselves are found by the path as it is written.
//! * `acme` has a `challenge`, and a `ca` for authorities of one's own; its `dir` has no default. The authority is spoken to by
//!   [`fetch`] and not by the library's own client, which has no deadlines and forgets `Retry-After`. Without a certificate
//!   handshakes are refused: there is no stand-in.
//! * `OPTIONS *` is about this server, which has nothing to say of itself: 404.
//! * A response is read ahead by the task that sends it, while its client takes nothing (`proxy/ahead.rs`), and not by one
//!   of its own: an answer that is taken as fast as it comes costs no task, no copy and no timer. A file is used when a client
//!   has taken nothing for 10 ms.
//! * The files that bodies wait in are written by the workers themselves, as nginx does: a piece of 64 KiB takes 14 us, less
//!   than to hand it over. They are closed elsewhere, which takes far longer when they are large.
//! * `read_timeout` of an upstream is for pauses within an answer; `response_timeout` ends with its head. Of a body that finds
//!   no room (`spool_memory`, `spool_disk`) the request is 503 with Retry-After: it is our bound and not the client's fault.
//! * What cannot change while it runs (`workers`, `[store]`, where publishers connect) is named in a warning, and the rest of
//!   a new configuration is taken, as PostgreSQL does it; a file with a mistake is refused whole.
//! * There is an admin address only with an `[admin]` section, on a thread of its own and not on the control thread: nothing
//!   is open because a key was forgotten, and publishers may keep the control thread busy. Any IP address in `Host` will do
//!   there, not only its own: an address is not looked up, so nobody can rebind it, and mapped ports of containers work. Who
//!   comes by a name shows the token. Numbers of the process are called `process_…`, as every exporter calls them.
//! * The status page's samples are read by the admin thread, not by the control thread. Without a token it shows what metrics
//!   show; the channels with the most streams are behind the token too, since users have channels of their own. The hub ranks
//!   channels by powers of two (`hub/ranks.rs`), so that to tell the largest it looks at some and not at all of them.
//! * A publication for several channels is counted by the workers, which alone know a stream that is subscribed to two
//!   of them; its reply waits for that count. So is one that is of use for a while only.
//! * The new process of an upgrade gets the listening sockets by messages over a channel that is its standard input, and not by
//!   numbers of descriptors in its environment: that takes no unsafe code, closes no descriptor by mistake, and nothing else that is
//!   started meanwhile inherits them. With a store on disk or in memory, streams of the old process end within a millisecond
//!   each rather than over its whole time to drain, since what is published comes to the new one only.
//! * Sources are a module of their own above `publish`, whose maps and refusals they use, and not a part of it: they also ask
//!   the hub who is there. Users' lists are read by every node for the users it has, and by no lease: only it knows them, and the
//!   key of an entry makes one event of what two nodes publish to the same store.
//! * Traces are sent by code of our own and not by the crates of OpenTelemetry; [`trace`] says why. Where there are traces, the
//!   flag of a client's `traceparent` is not passed on to the app either: it would fill the same collector.
//! * A stream that is told of a gap opens without an id: the head's comes with the word of the gap, so that a client which
//!   is cut between the two is told again.

pub mod access_log;
pub mod acme;
pub mod admin;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod compress;
pub mod config;
pub mod connection;
pub mod event;
pub mod fetch;
pub mod files;
pub mod handover;
pub mod http;
pub mod hub;
pub mod limits;
pub mod listener;
pub mod metrics;
pub mod proxy;
pub mod publish;
pub mod router;
pub mod server;
pub mod shutdown;
pub mod source;
pub mod store;
pub mod stream;
pub mod systemd;
pub mod tls;
pub mod trace;
pub mod transport;
pub mod unread;
pub mod worker;
