//! What a new configuration says otherwise than the one that is in force.

use super::Config;

impl Config {
    /// The sections that are not what they were, as they are written in the file.
    pub fn changed_since(&self, before: &Self) -> Vec<&'static str> {
        // Taken apart, so that a section that is added later is not forgotten here.
        let Self { server, listen, upstreams, auth, publish, store, admin, log, limits, sources, routes } =
            self;
        let sections = [
            ("[server]", *server != before.server),
            ("[[listen]]", *listen != before.listen),
            ("[upstreams]", *upstreams != before.upstreams),
            ("[auth]", *auth != before.auth),
            ("[publish]", *publish != before.publish),
            ("[store]", *store != before.store),
            ("[admin]", *admin != before.admin),
            ("[log]", *log != before.log),
            ("[limits]", *limits != before.limits),
            ("[[source]]", *sources != before.sources),
            ("[[route]]", *routes != before.routes),
        ];
        sections.into_iter().filter(|(_, is_changed)| *is_changed).map(|(section, _)| section).collect()
    }

    /// Takes over from the configuration in force what cannot change while the process runs, and names the keys for
    /// which it made a difference.
    pub fn keep_what_stays(&mut self, before: &Self) -> Vec<&'static str> {
        let mut kept = Vec::new();
        if self.server.workers != before.server.workers {
            self.server.workers = before.server.workers;
            kept.push("[server] workers");
        }
        if self.publish.socket != before.publish.socket {
            self.publish.socket.clone_from(&before.publish.socket);
            kept.push("[publish] socket");
        }
        let address = |config: &Self| config.publish.http.as_ref().map(|(address, _)| *address);
        if address(self) != address(before) {
            // The token follows all the same: the address that stays must not be open to one that was taken away.
            let token = self.publish.http.take().map(|(_, token)| token);
            self.publish.http.clone_from(&before.publish.http);
            if let (Some((_, own)), Some(token)) = (&mut self.publish.http, token) {
                *own = token;
            }
            kept.push("[publish] http");
        }
        if self.store != before.store {
            self.store = before.store.clone();
            kept.push("[store]");
        }
        let endpoint = |config: &Self| config.admin.as_ref().map(|admin| admin.endpoint.clone());
        if endpoint(self) != endpoint(before) {
            match (&mut self.admin, &before.admin) {
                (Some(admin), Some(before)) => admin.endpoint = before.endpoint.clone(),
                (admin, before) => admin.clone_from(before),
            }
            kept.push("[admin] address");
        }
        if self.sources != before.sources {
            self.sources.clone_from(&before.sources);
            kept.push("[[source]]");
        }
        kept
    }
}
