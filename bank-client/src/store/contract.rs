//! Contract tests that every `Store` must pass.
//!
//! ```
//! use std::sync::Arc;
//!
//! use bank_client::store::{MemoryStore, Store, contract};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! contract::all(|| async { Arc::new(MemoryStore::new()) as Arc<dyn Store> }).await;
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a panic is how a test fails"
)]

use std::future::Future;
use std::sync::Arc;

use futures::future::join_all;

use super::{Kind, MAX_ID_BYTES, MAX_RECORD_BYTES, Store, StoreError, Version};

/// All of it. `fresh` gives an empty store each time. It panics where a promise is not kept.
pub async fn all<F: Future<Output = Arc<dyn Store>>>(fresh: impl Fn() -> F) {
    what_is_put_is_there(fresh().await.as_ref()).await;
    no_write_overwrites_an_unseen_version(fresh().await.as_ref()).await;
    no_version_comes_twice(fresh().await.as_ref()).await;
    lists_go_by_id(fresh().await.as_ref()).await;
    limits_are_kept(fresh().await.as_ref()).await;
    of_many_at_once_one_writes(fresh().await).await;
}

/// Records are found by kind and id, until they are removed.
pub async fn what_is_put_is_there(store: &dyn Store) {
    for kind in Kind::ALL {
        assert_eq!(store.get(kind, "a").await.unwrap(), None);
        let sealed = [kind.as_str().as_bytes(), &[0, 255, 0]].concat();
        let version = store.put(kind, "a", None, &sealed).await.unwrap();
        let record = store.get(kind, "a").await.unwrap().unwrap();
        assert_eq!((record.version, record.sealed), (version, sealed));
    }
    for kind in Kind::ALL {
        let record = store.get(kind, "a").await.unwrap().unwrap();
        assert!(record.sealed.starts_with(kind.as_str().as_bytes()));
        store.remove(kind, "a", record.version).await.unwrap();
        assert_eq!(store.get(kind, "a").await.unwrap(), None);
    }
    let empty = store.put(Kind::Bank, "a", None, b"").await.unwrap();
    let record = store.get(Kind::Bank, "a").await.unwrap().unwrap();
    assert_eq!((record.version, record.sealed), (empty, Vec::new()));
}

/// Writing and removing take the version that was seen.
pub async fn no_write_overwrites_an_unseen_version(store: &dyn Store) {
    let kind = Kind::Connection;
    let first = store.put(kind, "a", None, b"1").await.unwrap();
    conflict(&store.put(kind, "a", None, b"2").await, "it is there");
    let second = store.put(kind, "a", Some(first), b"2").await.unwrap();
    assert_ne!(first, second);
    conflict(&store.put(kind, "a", Some(first), b"3").await, "an old one");
    conflict(&store.remove(kind, "a", first).await, "an old one");
    conflict(&store.put(kind, "b", Some(second), b"3").await, "another's");
    conflict(&store.remove(kind, "b", second).await, "another's");
    let record = store.get(kind, "a").await.unwrap().unwrap();
    assert_eq!((record.version, record.sealed), (second, b"2".to_vec()));
    assert_eq!(store.get(kind, "b").await.unwrap(), None);
}

/// A version that was seen before a record was removed and made again is not the present one.
pub async fn no_version_comes_twice(store: &dyn Store) {
    let kind = Kind::Connection;
    let before = store.put(kind, "a", None, b"1").await.unwrap();
    store.remove(kind, "a", before).await.unwrap();
    conflict(&store.put(kind, "a", Some(before), b"2").await, "removed");
    let after = store.put(kind, "a", None, b"2").await.unwrap();
    assert_ne!(before, after);
    conflict(&store.put(kind, "a", Some(before), b"3").await, "made anew");
    conflict(&store.remove(kind, "a", before).await, "made anew");
}

/// Lists are in the order of the ids' bytes, and can be read piece by piece.
pub async fn lists_go_by_id(store: &dyn Store) {
    let kind = Kind::Bank;
    let ids = ["B", "a", "a/1", "a/2", "b", "ä"];
    for id in ids.iter().rev() {
        store.put(kind, id, None, id.as_bytes()).await.unwrap();
    }
    for other in [Kind::Connection, Kind::Token] {
        store.put(other, "a", None, b"other").await.unwrap();
        store.put(other, "z", None, b"other").await.unwrap();
    }
    let list = async |after: &'static str, most| -> Vec<String> {
        let found = store.list(kind, after, most).await.unwrap();
        for (id, record) in &found {
            assert_eq!(id.as_bytes(), record.sealed);
        }
        found.into_iter().map(|(id, _)| id).collect()
    };
    assert_eq!(list("", 100).await, ids);
    assert_eq!(list("", 2).await, ["B", "a"]);
    assert_eq!(list("a", 2).await, ["a/1", "a/2"]);
    assert_eq!(list("a/11", 1).await, ["a/2"]);
    assert!(list("ä", 9).await.is_empty());
    assert!(list("", 0).await.is_empty());
}

/// Ids and records have a greatest length, and an error of their own past it.
pub async fn limits_are_kept(store: &dyn Store) {
    let longest = "x".repeat(MAX_ID_BYTES);
    let largest = vec![7; MAX_RECORD_BYTES];
    let version = store.put(Kind::Token, &longest, None, &largest).await;
    version.unwrap();
    for bad in [String::new(), format!("{longest}x")] {
        let outcome = store.put(Kind::Token, &bad, None, b"").await;
        assert!(matches!(outcome, Err(StoreError::InvalidId)), "{outcome:?}");
    }
    let larger = vec![7; MAX_RECORD_BYTES + 1];
    let outcome = store.put(Kind::Token, "a", None, &larger).await;
    assert!(matches!(outcome, Err(StoreError::TooLarge)), "{outcome:?}");
}

/// Of several that have seen the same version, one writes.
pub async fn of_many_at_once_one_writes(store: Arc<dyn Store>) {
    let kind = Kind::Connection;
    let mut seen = None;
    for round in 0..5_u8 {
        let writers = (0..8_u8).map(|writer| {
            let store = Arc::clone(&store);
            async move { store.put(kind, "a", seen, &[round, writer]).await }
        });
        let outcomes = join_all(writers).await;
        let written: Vec<Version> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Ok(version) => Some(*version),
                Err(StoreError::Conflict) => None,
                Err(error) => panic!("{error}"),
            })
            .collect();
        assert_eq!(written.len(), 1, "round {round}");
        let record = store.get(kind, "a").await.unwrap().unwrap();
        assert_eq!(written, [record.version]);
        seen = Some(record.version);
    }
}

fn conflict<T: std::fmt::Debug>(outcome: &Result<T, StoreError>, why: &str) {
    assert!(
        matches!(outcome, Err(StoreError::Conflict)),
        "{why}: {outcome:?}"
    );
}
