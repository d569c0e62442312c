//! Sealed access and refresh tokens.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::connection_id::ConnectionId;
use super::{Kind, RecordError, Sealed, Store, StoreError};
use crate::directory::BankId;
use crate::vault::Vault;

/// Tokens in a store: what a bank, or one connection to it, has given a program besides consents.
/// Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    sealed: Sealed,
}

/// Owner of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Owner {
    /// It is for all of a bank.
    Bank(BankId),
    /// It is for one connection.
    Connection(ConnectionId),
}

impl Owner {
    /// Prefix of the ids of its tokens. Neither ids of banks nor of connections have a `/` in
    /// them.
    pub(crate) fn prefix(&self) -> String {
        match self {
            Self::Bank(id) => format!("bank/{id}/"),
            Self::Connection(id) => format!("connection/{id}/"),
        }
    }
}

/// A token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The name under which it is found again, such as `access` or `refresh`.
    pub name: String,
    /// The token itself.
    pub secret: String,
    /// Time at which it expires, if it does.
    pub expires: Option<DateTime<Utc>>,
}

partial_debug!(Token { name, expires });

impl Token {
    /// Whether it has ended by then.
    #[must_use]
    pub fn has_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// Tokens that are read from the store at a time.
const PIECE: usize = 100;

impl Tokens {
    /// Those in that store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, vault: Vault) -> Self {
        Self {
            sealed: Sealed::new(store, vault),
        }
    }

    /// Keeps a token, in place of the one of that name.
    pub async fn keep(&self, owner: &Owner, token: &Token) -> Result<(), RecordError> {
        let id = owner.prefix() + &token.name;
        loop {
            let kept = self.sealed.get::<Token>(Kind::Token, &id).await?;
            let seen = kept.map(|(_, version)| version);
            match self.sealed.put(Kind::Token, &id, seen, token).await {
                // The last writer has the newest token.
                Err(RecordError::Store(StoreError::Conflict)) => {}
                outcome => return outcome.map(|_| ()),
            }
        }
    }

    /// The token of that name, also if it has ended: see [`Token::has_expired`].
    pub async fn get(&self, owner: &Owner, name: &str) -> Result<Option<Token>, RecordError> {
        let id = owner.prefix() + name;
        let kept = self.sealed.get(Kind::Token, &id).await?;
        Ok(kept.map(|(token, _)| token))
    }

    /// All of an owner's tokens, by name.
    pub async fn of(&self, owner: &Owner) -> Result<Vec<Token>, RecordError> {
        let prefix = owner.prefix();
        let (mut tokens, mut after) = (Vec::new(), prefix.clone());
        loop {
            let piece = self
                .sealed
                .list::<Token>(Kind::Token, &after, PIECE)
                .await?;
            let read = piece.len();
            for (id, token) in piece {
                if !id.starts_with(&prefix) {
                    return Ok(tokens);
                }
                tokens.push(token?);
                after = id;
            }
            if read < PIECE {
                return Ok(tokens);
            }
        }
    }

    /// Removes the token of that name. Says whether it was there.
    pub async fn remove(&self, owner: &Owner, name: &str) -> Result<bool, RecordError> {
        let id = owner.prefix() + name;
        loop {
            let Some((_, seen)) = self.sealed.get::<Token>(Kind::Token, &id).await? else {
                return Ok(false);
            };
            match self.sealed.remove(Kind::Token, &id, seen).await {
                Err(RecordError::Store(StoreError::Conflict)) => {}
                outcome => return outcome.map(|()| true),
            }
        }
    }

    /// Removes all of an owner's tokens.
    pub async fn remove_all(&self, owner: &Owner) -> Result<(), RecordError> {
        self.sealed.remove_all(Kind::Token, &owner.prefix()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use crate::vault::Key;
    use shared_types::environment::SystemRandomness;

    fn tokens(store: &Arc<MemoryStore>) -> Tokens {
        let key = Key::from_bytes([1; 32]);
        let vault = Vault::new(&key, "tokens", Arc::new(SystemRandomness)).unwrap();
        Tokens::new(Arc::clone(store) as Arc<dyn Store>, vault)
    }

    fn token(name: &str, secret: &str) -> Token {
        Token {
            name: name.to_owned(),
            secret: secret.to_owned(),
            expires: Some("2026-11-25T12:00:00Z".parse().unwrap()),
        }
    }

    #[tokio::test]
    async fn tokens_are_kept_by_owner_and_name() {
        let store = Arc::new(MemoryStore::new());
        let tokens = tokens(&store);
        let bank = Owner::Bank("bank-b".parse().unwrap());
        let other = Owner::Bank("bank-b2".parse().unwrap());
        for name in ["refresh", "access", "a/b"] {
            tokens.keep(&bank, &token(name, "old")).await.unwrap();
            tokens.keep(&bank, &token(name, name)).await.unwrap();
        }
        tokens
            .keep(&other, &token("access", "other"))
            .await
            .unwrap();
        let read = tokens.get(&bank, "access").await.unwrap();
        assert_eq!(read, Some(token("access", "access")));
        assert_eq!(tokens.get(&bank, "b").await.unwrap(), None);
        let names: Vec<String> = tokens
            .of(&bank)
            .await
            .unwrap()
            .into_iter()
            .map(|token| token.name)
            .collect();
        assert_eq!(names, ["a/b", "access", "refresh"]);
        assert!(tokens.remove(&bank, "access").await.unwrap());
        assert!(!tokens.remove(&bank, "access").await.unwrap());
        assert_eq!(tokens.get(&bank, "access").await.unwrap(), None);
        tokens.remove_all(&bank).await.unwrap();
        assert!(tokens.of(&bank).await.unwrap().is_empty());
        assert_eq!(tokens.of(&other).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn nothing_of_a_token_shows() {
        let store = Arc::new(MemoryStore::new());
        let tokens = tokens(&store);
        let bank = Owner::Bank("bank-b".parse().unwrap());
        let kept = token("access", "very-secret");
        tokens.keep(&bank, &kept).await.unwrap();
        let record = store.list(Kind::Token, "", 1).await.unwrap().remove(0).1;
        let stored = String::from_utf8_lossy(&record.sealed).into_owned();
        for shown in [stored, format!("{kept:?}"), format!("{record:?}")] {
            assert!(
                !shown.contains("secret\"") && !shown.contains("very-secret"),
                "{shown}"
            );
        }
        // Moved to another place in the store, it does not open.
        store
            .put(Kind::Token, "bank/bank-c/access", None, &record.sealed)
            .await
            .unwrap();
        let moved = Owner::Bank("bank-c".parse().unwrap());
        assert!(matches!(
            tokens.get(&moved, "access").await,
            Err(RecordError::Vault(_))
        ));
    }

    #[test]
    fn a_token_ends_at_its_time() {
        let kept = token("access", "x");
        assert!(!kept.has_expired("2026-11-25T11:59:59Z".parse().unwrap()));
        assert!(kept.has_expired("2026-11-25T12:00:00Z".parse().unwrap()));
        let lasting = Token {
            expires: None,
            ..kept
        };
        assert!(!lasting.has_expired("2036-11-25T12:00:00Z".parse().unwrap()));
    }
}
