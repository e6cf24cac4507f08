//! A keeper over a file that changes, with the clock in the test's hands.

use std::fs;

use jsonwebtoken::Algorithm;
use tokio::time::advance;

use super::*;
use crate::auth::{AuthError, Reason};

const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

fn set(ids: &[&str]) -> String {
    let keys: Vec<_> =
        ids.iter().map(|id| serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": X, "kid": id})).collect();
    serde_json::json!({ "keys": keys }).to_string()
}

async fn find(keys: &Keys, id: &str) -> Result<(), AuthError> {
    keys.find(Some(id), Algorithm::EdDSA).await.map(drop)
}

fn unknown() -> Result<(), AuthError> {
    Err(Reason::UnknownKey.into())
}

/// Runs `test` beside the keeper of a file.
async fn beside<T: Future<Output = ()>>(test: impl FnOnce(std::path::PathBuf, Keys) -> T) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let (keys, keeper) = Keeper::new("jwt", &JwksSource::File(path.clone()), &[]);
    // The test comes first, so that the file is as it wants it before the first look.
    tokio::select! {
        biased;
        () = test(path, keys) => {}
        () = keeper.run() => unreachable!(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_found_at_a_bounded_rate() {
    beside(async |path, keys| {
        fs::write(&path, set(&["a"])).unwrap();
        assert_eq!(find(&keys, "a").await, Ok(()));
        fs::write(&path, set(&["b"])).unwrap();
        // Too early for another look.
        assert_eq!(find(&keys, "b").await, unknown());
        let looks = keys.known.borrow().looks;
        for n in 0..100 {
            assert_eq!(find(&keys, &n.to_string()).await, unknown());
        }
        assert_eq!(keys.known.borrow().looks, looks);
        advance(SPACING).await;
        assert_eq!(find(&keys, "b").await, Ok(()));
        assert_eq!(find(&keys, "a").await, unknown());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn keys_change_without_anybody_asking() {
    beside(async |path, keys| {
        fs::write(&path, set(&["a"])).unwrap();
        assert_eq!(find(&keys, "a").await, Ok(()));
        fs::write(&path, set(&["b"])).unwrap();
        tokio::time::sleep(REFRESH + Duration::from_secs(1)).await;
        assert_eq!(find(&keys, "a").await, unknown());
        assert_eq!(find(&keys, "b").await, Ok(()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_last_good_set_stays() {
    beside(async |path, keys| {
        fs::write(&path, set(&["a"])).unwrap();
        assert_eq!(find(&keys, "a").await, Ok(()));
        for broken in ["", "{}", "{\"keys\": []}", &"x".repeat(MAX_SET + 1)] {
            fs::write(&path, broken).unwrap();
            advance(SPACING).await;
            assert_eq!(find(&keys, "b").await, unknown());
            assert_eq!(find(&keys, "a").await, Ok(()));
        }
        fs::remove_file(&path).unwrap();
        tokio::time::sleep(REFRESH * 3).await;
        assert_eq!(find(&keys, "a").await, Ok(()));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_a_set_nobody_gets_in_and_it_is_tried_again() {
    beside(async |path, keys| {
        assert_eq!(find(&keys, "a").await, Err(AuthError::Unavailable));
        fs::write(&path, set(&["a"])).unwrap();
        tokio::time::sleep(FIRST_RETRY * 2).await;
        assert_eq!(find(&keys, "a").await, Ok(()));
    })
    .await;
}
