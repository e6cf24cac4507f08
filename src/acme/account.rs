//! The account at an authority: made once, kept, and used again.

use std::fs;
use std::io;
use std::path::Path;

use instant_acme::{Account, AccountCredentials, NewAccount};
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::error::AcmeError;
use super::folder::{self, Folder};
use crate::config::Acme;

/// What is kept of an account. It holds the account's key, so it is neither shown nor printed.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Whom the authority was told that it may write to.
    email: Option<String>,
    credentials: AccountCredentials,
}

/// Opens the account that is kept in a folder; makes one, if there is none.
pub(super) async fn open(acme: &Acme, folder: &Folder, client: Client) -> Result<Account, AcmeError> {
    let path = folder.account();
    let builder = Account::builder_with_http(Box::new(client));
    let contact = acme.email.as_ref().map(|email| format!("mailto:{email}"));
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let Some(kept) = read(&path)? else {
        let new = NewAccount {
            contact: &contact,
            // Whoever writes `acme` into the file agrees to them; its reference says so.
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let (account, credentials) = builder.create(&new, acme.directory.clone(), None).await?;
        write(&path, &Kept { email: acme.email.clone(), credentials }).await?;
        tracing::info!(directory = acme.directory, account = account.id(), "an account was made");
        return Ok(account);
    };
    let Kept { email, credentials } = kept;
    if email == acme.email {
        return Ok(builder.from_credentials(credentials).await?);
    }
    let account = builder.from_credentials(credentials).await?;
    account.update_contacts(&contact).await?;
    // The credentials are not given back by the library: they are read once more.
    if let Some(kept) = read(&path)? {
        write(&path, &Kept { email: acme.email.clone(), ..kept }).await?;
    }
    Ok(account)
}

/// Puts an account aside that its authority does not know.
pub(super) fn put_aside(folder: &Folder) -> Result<(), AcmeError> {
    let path = folder.account();
    fs::rename(&path, path.with_extension("json.unknown")).map_err(|cause| AcmeError::Folder { path, cause })
}

fn read(path: &Path) -> Result<Option<Kept>, AcmeError> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|cause| AcmeError::Account { path: path.to_owned(), cause }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(AcmeError::Folder { path: path.to_owned(), cause }),
    }
}

async fn write(path: &Path, kept: &Kept) -> Result<(), AcmeError> {
    let account = |cause| AcmeError::Account { path: path.to_owned(), cause };
    let text = serde_json::to_vec(kept).map_err(account)?;
    let to = path.to_owned();
    // Where files may be waited for: publishers are served by this thread.
    let written = tokio::task::spawn_blocking(move || {
        let new = folder::write_beside(&to, &text)?;
        folder::put_in_place(&new, &to)
    });
    let written = written.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    written.map_err(|cause| AcmeError::Folder { path: path.to_owned(), cause })
}
