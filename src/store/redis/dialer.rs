//! How a Redis is reached: where it is said to be, or where its Sentinels say.

use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo, RedisError,
    RedisResult, TlsCertificates, TlsMode,
};

use crate::config::{RedisPlace, RedisServer};

/// What makes connections to a Redis. They speak RESP3.
pub struct Dialer(Way);

enum Way {
    Direct(Client),
    Sentinels(SentinelClient),
}

impl Dialer {
    /// Takes settings; connects to nothing yet.
    ///
    /// # Errors
    /// The settings cannot be used, such as an authority that is none.
    pub fn new(server: &RedisServer) -> Result<Self, RedisError> {
        let certificates =
            server.ca.as_ref().map(|ca| TlsCertificates { client_tls: None, root_cert: Some(ca.to_vec()) });
        let addr_of = |host: &str, port, tls| match tls {
            true => ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host.to_owned(), port),
        };
        let addr = match &server.place {
            RedisPlace::Tcp { host, port, tls } => addr_of(host, *port, *tls),
            RedisPlace::Unix(path) => ConnectionAddr::Unix(path.clone()),
            RedisPlace::Sentinels { at, master, tls } => {
                let at = at.iter().map(|(host, port)| addr_of(host, *port, *tls));
                let mut builder = SentinelClientBuilder::new(at, master, SentinelServerType::Master)?
                    .set_client_to_redis_protocol(ProtocolVersion::RESP3)
                    .set_client_to_redis_db(i64::from(server.database));
                if let Some(username) = &server.username {
                    builder = builder.set_client_to_redis_username(username);
                }
                if let Some(password) = &server.password {
                    builder = builder.set_client_to_redis_password(password.expose());
                }
                if let Some(certificates) = certificates.filter(|_| *tls) {
                    builder = builder
                        .set_client_to_redis_tls_mode(TlsMode::Secure)
                        .set_client_to_redis_certificates(certificates.clone())
                        .set_client_to_sentinel_tls_mode(TlsMode::Secure)
                        .set_client_to_sentinel_certificates(certificates);
                }
                return Ok(Self(Way::Sentinels(builder.build()?)));
            }
        };
        // One right less that a user of ours needs.
        let mut settings = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_db(i64::from(server.database))
            .set_skip_set_lib_name();
        if let Some(username) = &server.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &server.password {
            settings = settings.set_password(password.expose());
        }
        let info = addr.into_connection_info()?.set_redis_settings(settings);
        Ok(Self(Way::Direct(match certificates {
            Some(certificates) => Client::build_with_tls(info, certificates)?,
            None => Client::open(info)?,
        })))
    }

    /// Where it is now: Sentinels are asked, the others not.
    ///
    /// # Errors
    /// No Sentinel can be reached, or none of them knows it.
    pub async fn client(&mut self) -> RedisResult<Client> {
        match &mut self.0 {
            Way::Direct(client) => Ok(client.clone()),
            Way::Sentinels(sentinels) => sentinels.async_get_client().await,
        }
    }
}
