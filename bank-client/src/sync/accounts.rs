//! Synchronisation of the account list and the balances of a connection.

use chrono::NaiveDate;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared_types::decode::{Manner, part};
use shared_types::xs2a::account::{AccountDetails, AccountReference, Balance};
use shared_types::xs2a::card_account::CardAccountDetails;
use shared_types::xs2a::link::Links;
use sqlx::Row as _;

use super::access::{Access, NotOpened, Part, Unread};
use super::copy::{BATCH_ROWS, CopyError, LocalCopy, WriteTransaction};
use super::plan::{AccountSyncState, Finding};
use super::row::{Digest, json_digest};
use super::{AccountKey, SyncError};
use crate::deviations::{DeviationCollector, Deviations};
use crate::error::{Error, ErrorKind};
use crate::identity::{Identity, KnownAccount, match_accounts};
use crate::response::Response;
use crate::validate::Account;

/// Accounts of one kind that are taken from one connection: all of them are written at a time.
pub(super) const MAX_ACCOUNTS: usize = 1000;

/// Balances that are taken of one account: the standard has eight types.
pub(super) const MAX_BALANCES: usize = 100;

/// Account as it is stored: its `resourceId`, and the details in the standard's form.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredAccount {
    pub(super) resource: String,
    pub(super) details: serde_json::Value,
    /// All account numbers that the bank has given so far. None: those of the details.
    #[serde(default)]
    numbers: Option<AccountReference>,
}

impl StoredAccount {
    pub(super) fn decode<T: DeserializeOwned>(&self) -> Result<T, CopyError> {
        part(&self.details, Manner::Tolerant).map_err(|_| CopyError::Corrupt {
            what: "account.details",
        })
    }

    /// The identity by which it is recognised.
    fn identity(&self, card: bool) -> Result<Identity, CopyError> {
        let resource_id = Some(self.resource.clone());
        let identity = if card {
            Identity::of_card(&CardAccountDetails {
                resource_id,
                ..self.decode()?
            })
        } else {
            Identity::of(&AccountDetails {
                resource_id,
                ..self.decode()?
            })
        };
        Ok(match &self.numbers {
            Some(earlier) => identity.with_earlier_numbers(earlier.clone()),
            None => identity,
        })
    }
}

/// An account that the consent opens.
#[derive(Debug)]
pub(super) struct ListedAccount {
    pub(super) card: bool,
    resource: String,
    details: serde_json::Value,
    identity: Identity,
    /// As far as they were read.
    balances: Option<Vec<Balance>>,
    /// Reason for which they were not read, after they were requested.
    pub(super) balances_unread: Option<Unread>,
    links: Option<Links>,
}

/// The field that says how debits of a card account are quoted. The standard lets a bank say so
/// with the account, with its balances or with its transactions: the copy keeps it with the
/// account.
const DEBITS: &str = "debitAccounting";

impl StoredAccount {
    fn debits(&self) -> Option<bool> {
        self.details.get(DEBITS)?.as_bool()
    }

    /// The same, with debits quoted so.
    fn with_debits(mut self, debits: bool) -> Self {
        if let Some(details) = self.details.as_object_mut() {
            details.insert(DEBITS.to_owned(), debits.into());
        }
        self
    }
}

impl ListedAccount {
    pub(super) fn resource(&self) -> &str {
        &self.resource
    }

    pub(super) const fn links(&self) -> Option<&Links> {
        self.links.as_ref()
    }

    pub(super) const fn numbers(&self) -> &AccountReference {
        self.identity.numbers()
    }
}

/// A list of accounts of one kind.
#[derive(Debug, Default)]
pub(super) struct AccountList {
    pub(super) accounts: Vec<ListedAccount>,
    /// The error for accounts without a `resourceId`, which cannot be read.
    pub(super) missing_id: Option<Error>,
    /// Accounts of the list that could not be read.
    left_out: usize,
}

impl AccountList {
    /// Whether each account of the bank's list is in it: one that is missing is not gone otherwise.
    const fn is_whole(&self) -> bool {
        self.missing_id.is_none() && self.left_out == 0
    }
}

/// The accounts of both kinds; of a kind that could not be listed, why.
pub(super) struct AccountLists {
    pub(super) payment: Result<AccountList, Error>,
    pub(super) card: Result<AccountList, Error>,
    /// Deviations of the lists, and of balances, from the standard.
    pub(super) deviations: Deviations,
}

/// Reads the account lists, with balances as far as the consent covers them.
pub(super) async fn list(access: &Access<'_>) -> AccountLists {
    let under = access.under;
    let told = DeviationCollector::default();
    let mut listed = AccountLists {
        payment: fetch(access, &told, false, Identity::of, under.accounts(true)).await,
        card: fetch(
            access,
            &told,
            true,
            Identity::of_card,
            under.card_accounts(true),
        )
        .await,
        deviations: Deviations::default(),
    };
    let mut down = None;
    let lists = [&mut listed.payment, &mut listed.card];
    let accounts = lists
        .into_iter()
        .flatten()
        .flat_map(|list| &mut list.accounts);
    for account in accounts {
        down = account.fill_balances(access, down, &told).await;
    }
    listed.deviations = told.take();
    listed
}

/// Fetches the accounts of one kind, and keeps those that have a `resourceId`. Accounts that share
/// an id were left out when the list was decoded.
async fn fetch<T: Account + Serialize>(
    access: &Access<'_>,
    told: &DeviationCollector,
    card: bool,
    identity: fn(&T) -> Identity,
    answer: impl Future<Output = Result<Response<Vec<T>>, Error>>,
) -> Result<AccountList, Error> {
    let answer = access.in_time(answer).await?;
    told.append(answer.deviations.clone());
    let error = |kind| access.under.bank().error(kind);
    let mut list = AccountList {
        left_out: answer.deviations.requested_left_out(),
        ..AccountList::default()
    };
    for account in answer {
        let Some(resource) = account.resource_id() else {
            list.missing_id
                .get_or_insert_with(|| error(ErrorKind::missing_resource_id("accounts")));
            continue;
        };
        for (count, limit) in [
            (list.accounts.len() + 1, MAX_ACCOUNTS),
            (account.balances().map_or(0, <[_]>::len), MAX_BALANCES),
        ] {
            if count > limit {
                return Err(error(ErrorKind::TooMany { limit }));
            }
        }
        let mut details = serde_json::to_value(&account)
            .map_err(|fault| error(ErrorKind::malformed("accounts", fault.to_string())))?;
        if let Some(details) = details.as_object_mut() {
            details.retain(|name, _| !["resourceId", "balances", "_links"].contains(&&**name));
        }
        list.accounts.push(ListedAccount {
            card,
            resource: resource.to_owned(),
            details,
            identity: identity(&account),
            balances: account.balances().map(<[_]>::to_vec),
            balances_unread: None,
            links: account.links().cloned(),
        });
    }
    Ok(list)
}

impl ListedAccount {
    /// Reads the balances of an account whose bank does not list them with the accounts. If the
    /// bank is down, the error is passed on and stands for all following accounts.
    async fn fill_balances(
        &mut self,
        access: &Access<'_>,
        down: Option<Error>,
        told: &DeviationCollector,
    ) -> Option<Error> {
        if self.balances.is_some() {
            return down;
        }
        let links = self.links.as_ref();
        let numbers = self.identity.numbers();
        if access.is_closed(Part::Balances, numbers, links).await {
            self.balances_unread = Some(Unread::NotOpened(NotOpened::ByConsent));
            return down;
        }
        if let Some(error) = down {
            self.balances_unread = Some(Unread::Failed(error.clone()));
            return Some(error);
        }
        let (under, id) = (access.under, self.resource());
        let read = async {
            let balances = if self.card {
                under.card_balances(id).await?.map(|answer| answer.balances)
            } else {
                under.balances(id).await?.map(|answer| answer.balances)
            };
            if balances.len() > MAX_BALANCES {
                let limit = MAX_BALANCES;
                return Err(under.bank().error(ErrorKind::TooMany { limit }));
            }
            told.append(balances.deviations.clone());
            Ok(balances.into_inner())
        };
        match access.in_time(read).await {
            Ok(balances) => {
                self.balances = Some(balances);
                None
            }
            Err(error) => {
                let down = error.is_transient().then(|| error.clone());
                let unread = access.judge(error, Part::Balances, numbers, links).await;
                self.balances_unread = Some(unread);
                down
            }
        }
    }
}

/// Changes of the accounts in the copy.
#[derive(Debug, Default)]
pub(super) struct StoreOutcome {
    pub(super) keys: Vec<AccountKey>,
    pub(super) new: u64,
    pub(super) gone: u64,
    pub(super) balances_changed: u64,
}

impl LocalCopy {
    /// Stores the accounts of one kind that a consent covers, and marks those that are gone.
    pub(super) async fn store_accounts(
        &self,
        connection: &str,
        card: bool,
        consent: &str,
        list: &AccountList,
        now: i64,
    ) -> Result<StoreOutcome, SyncError> {
        let mut stored = StoreOutcome::default();
        let consent = self.consent_digest(consent);
        let mut sql = self.begin().await?;
        let (ids, before) = self
            .existing_accounts(&mut sql, connection, card, &consent)
            .await?;
        let given: Vec<Identity> = list
            .accounts
            .iter()
            .map(|account| account.identity.clone())
            .collect();
        let found = match_accounts(&before, &given);
        sqlx::query("UPDATE account SET position = -1 WHERE connection = ? AND card = ?")
            .bind(connection)
            .bind(card)
            .execute(&mut *sql)
            .await?;
        // Ids that are another account's by now are taken away first: each is unique within the
        // consent.
        for (account, found) in list.accounts.iter().zip(&found) {
            let resource = self.resource_digest(account.resource());
            let id = found.and_then(|place| ids.get(place).copied());
            sqlx::query(
                "UPDATE account SET consent = NULL \
                 WHERE connection = ? AND card = ? AND consent = ? AND resource = ? AND id IS NOT ?",
            )
            .bind(connection)
            .bind(card)
            .bind(consent.as_slice())
            .bind(resource.as_slice())
            .bind(id)
            .execute(&mut *sql)
            .await?;
        }
        for (position, (account, found)) in list.accounts.iter().zip(found).enumerate() {
            let known = found.and_then(|place| {
                let earlier = before.get(place)?.identity.numbers();
                Some((*ids.get(place)?, earlier.clone()))
            });
            stored.new += u64::from(known.is_none());
            let writing = AccountWriter {
                copy: self,
                connection,
                consent,
                account,
                now,
                position: i64::try_from(position).unwrap_or(i64::MAX),
            };
            let id = writing.account(&mut sql, known).await?;
            stored.keys.push(AccountKey(id));
        }
        if list.is_whole() {
            let gone = sqlx::query(
                "UPDATE account SET gone = ? WHERE connection = ? AND card = ? AND position < 0 AND gone IS NULL",
            )
            .bind(now)
            .bind(connection)
            .bind(card)
            .execute(&mut *sql)
            .await?;
            stored.gone = gone.rows_affected();
        }
        sql.commit().await?;
        self.store_balances(&list.accounts, &mut stored, now)
            .await?;
        Ok(stored)
    }

    pub(super) fn consent_digest(&self, consent: &str) -> Digest {
        self.digester.digest("consent", &[consent.as_bytes()])
    }

    fn content_digest(&self, kind: &str, value: &impl Serialize) -> Result<Digest, SyncError> {
        json_digest(&self.digester, kind, value).map_err(unwritable)
    }

    pub(super) fn resource_digest(&self, resource: &str) -> Digest {
        self.digester.digest("resource", &[resource.as_bytes()])
    }

    async fn existing_accounts(
        &self,
        sql: &mut WriteTransaction,
        connection: &str,
        card: bool,
        consent: &Digest,
    ) -> Result<(Vec<i64>, Vec<KnownAccount>), CopyError> {
        let rows = sqlx::query(
            "SELECT id, consent IS ?1 AS same_consent, gone IS NULL AS listed, details FROM account \
             WHERE connection = ?2 AND card = ?3 ORDER BY id",
        )
        .bind(consent.as_slice())
        .bind(connection)
        .bind(card)
        .fetch_all(&mut **sql)
        .await?;
        rows.iter()
            .map(|row| {
                let id = row.try_get("id")?;
                let stored: StoredAccount =
                    self.opened(row, &about_account(id), "account.details")?;
                let known = KnownAccount {
                    identity: stored.identity(card)?,
                    same_consent: row.try_get("same_consent")?,
                    listed: row.try_get("listed")?,
                };
                Ok((id, known))
            })
            .collect()
    }

    /// Whether there are accounts of that kind that were on the connection's last list.
    pub(super) async fn has_listed(&self, connection: &str, card: bool) -> Result<bool, CopyError> {
        let listed = sqlx::query(
            "SELECT 1 FROM account WHERE connection = ? AND card = ? AND gone IS NULL LIMIT 1",
        )
        .bind(connection)
        .bind(card)
        .fetch_optional(&self.pool)
        .await?;
        Ok(listed.is_some())
    }

    /// Stores how the bank quotes debits of a card account.
    pub(super) async fn store_debit_accounting(
        &self,
        account: AccountKey,
        debits: bool,
    ) -> Result<(), SyncError> {
        let AccountKey(id) = account;
        let mut sql = self.begin().await?;
        let stored_account = self.stored_account(&mut sql, id).await?;
        let Some(stored_account) = stored_account.filter(|it| it.debits() != Some(debits)) else {
            return Ok(());
        };
        let stored_account = stored_account.with_debits(debits);
        let content = self.content_digest("account", &stored_account)?;
        sqlx::query("UPDATE account SET details = ?, content = ? WHERE id = ?")
            .bind(self.seal_account(id, &stored_account)?)
            .bind(content.as_slice())
            .bind(id)
            .execute(&mut *sql)
            .await?;
        Ok(sql.commit().await?)
    }

    /// The stored account, if there is one.
    async fn stored_account(
        &self,
        sql: &mut WriteTransaction,
        id: i64,
    ) -> Result<Option<StoredAccount>, SyncError> {
        let row = sqlx::query("SELECT details FROM account WHERE id = ?")
            .bind(id)
            .fetch_optional(&mut **sql)
            .await?;
        let stored_account =
            row.map(|row| self.opened(&row, &about_account(id), "account.details"));
        Ok(stored_account.transpose()?)
    }

    fn seal_account(&self, id: i64, stored_account: &StoredAccount) -> Result<Vec<u8>, SyncError> {
        let details = serde_json::to_vec(stored_account).map_err(unwritable)?;
        let sealed = self.vault.seal(&about_account(id), &details);
        Ok(sealed.map_err(CopyError::from)?)
    }

    /// Stores the balances in batches of accounts, so that other writers do not wait for long.
    async fn store_balances(
        &self,
        given: &[ListedAccount],
        stored: &mut StoreOutcome,
        now: i64,
    ) -> Result<(), SyncError> {
        let all: Vec<_> = stored.keys.iter().zip(given).collect();
        for piece in all.chunks(BATCH_ROWS / MAX_BALANCES) {
            let mut sql = self.begin().await?;
            for (account, given) in piece {
                if let Some(balances) = &given.balances {
                    stored.balances_changed += self
                        .upsert_balances(&mut sql, account.0, balances, now)
                        .await?;
                }
            }
            sql.commit().await?;
        }
        Ok(())
    }

    /// State that decides how an account's transactions are requested.
    pub(super) async fn sync_state(
        &self,
        account: AccountKey,
    ) -> Result<AccountSyncState, CopyError> {
        let row =
            sqlx::query("SELECT complete, reference, in_flight, refused, since, unsettled FROM account WHERE id = ?")
                .bind(account.0)
                .fetch_one(&self.pool)
                .await?;
        let day = |column: &'static str| {
            let text: Option<String> = row.try_get(column)?;
            text.map(|text| text.parse())
                .transpose()
                .map_err(|_| CopyError::Corrupt {
                    what: "a day of an account",
                })
        };
        let reference: Option<Vec<u8>> = row.try_get("reference")?;
        let about = format!("reference/{}", account.0);
        let reference = reference
            .map(|sealed| self.vault.open(&about, &sealed))
            .transpose()?
            .map(String::from_utf8)
            .transpose()
            .map_err(|_| CopyError::Corrupt {
                what: "account.reference",
            })?;
        Ok(AccountSyncState {
            complete: day("complete")?,
            reference,
            in_flight: row.try_get::<i64, _>("in_flight")? != 0,
            refused: day("refused")?,
            since: day("since")?,
            unsettled: day("unsettled")?,
        })
    }

    /// Records what a refusal has shown on that day.
    pub(super) async fn record_finding(
        &self,
        account: AccountKey,
        finding: Finding,
        today: NaiveDate,
    ) -> Result<(), CopyError> {
        sqlx::query(match finding {
            Finding::Nothing => return Ok(()),
            Finding::ForgetReference => "UPDATE account SET reference = NULL WHERE id = ?2",
            Finding::NoDeltas => "UPDATE account SET refused = ?1 WHERE id = ?2",
        })
        .bind(today.to_string())
        .bind(account.0)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// Associated data of an account's seal.
pub(super) fn about_account(id: i64) -> String {
    format!("account/{id}")
}

struct AccountWriter<'a> {
    copy: &'a LocalCopy,
    connection: &'a str,
    consent: Digest,
    account: &'a ListedAccount,
    now: i64,
    position: i64,
}

impl AccountWriter<'_> {
    /// Writes an account over the one that it is, of which those numbers are known; if it is none,
    /// makes a new one.
    async fn account(
        &self,
        sql: &mut WriteTransaction,
        known: Option<(i64, AccountReference)>,
    ) -> Result<i64, SyncError> {
        let numbers = self.account.numbers().clone();
        let is_known = known.is_some();
        let (id, numbers) = match known {
            Some((id, earlier)) => (id, numbers.or(earlier)),
            None => (self.insert(sql).await?, numbers),
        };
        let mut stored_account = StoredAccount {
            resource: self.account.resource.clone(),
            details: self.account.details.clone(),
            numbers: Some(numbers),
        };
        if self.account.card
            && is_known
            && stored_account.debits().is_none()
            && let Some(before) = self.copy.stored_account(sql, id).await?
            && let Some(debits) = before.debits()
        {
            stored_account = stored_account.with_debits(debits);
        }
        let resource = self.copy.resource_digest(self.account.resource());
        let content = self.copy.content_digest("account", &stored_account)?;
        let details = self.copy.seal_account(id, &stored_account)?;
        // What the bank has last reported as new it has reported under the consent of before: the
        // last days are read once more.
        sqlx::query(
            "UPDATE account SET in_flight = CASE WHEN consent IS ?1 OR in_flight <> 0 THEN in_flight ELSE 1 END, \
             consent = ?1, resource = ?2, position = ?3, gone = NULL, \
             details = CASE WHEN content = ?4 THEN details ELSE ?5 END, content = ?4 WHERE id = ?6",
        )
        .bind(self.consent.as_slice())
        .bind(resource.as_slice())
        .bind(self.position)
        .bind(content.as_slice())
        .bind(details)
        .bind(id)
        .execute(&mut **sql)
        .await?;
        Ok(id)
    }

    async fn insert(&self, sql: &mut WriteTransaction) -> Result<i64, SyncError> {
        let resource = self.copy.resource_digest(self.account.resource());
        let inserted = sqlx::query(
            "INSERT INTO account (connection, card, consent, resource, position, content, details, first_seen) \
             VALUES (?, ?, ?, ?, 0, x'', x'', ?)",
        )
        .bind(self.connection)
        .bind(self.account.card)
        .bind(self.consent.as_slice())
        .bind(resource.as_slice())
        .bind(self.now)
        .execute(&mut **sql)
        .await?;
        Ok(inserted.last_insert_rowid())
    }
}

impl LocalCopy {
    /// Stores balances, changed ones as new rows; returns the number of changed ones.
    async fn upsert_balances(
        &self,
        sql: &mut WriteTransaction,
        account: i64,
        balances: &[Balance],
        now: i64,
    ) -> Result<u64, SyncError> {
        sqlx::query("UPDATE balance SET current = 0 WHERE account = ? AND current = 1")
            .bind(account)
            .execute(&mut **sql)
            .await?;
        let mut changed = 0;
        let mut last_kind = None;
        let mut number = 0;
        // Of several of a kind the newest is the first, whatever the bank's order.
        for balance in Balance::newest_first(balances) {
            let kind @ (currency, balance_type, with_limit) = balance.kind();
            number = if last_kind == Some(kind) {
                number + 1
            } else {
                0
            };
            last_kind = Some(kind);
            let name = serde_json::to_string(&balance_type).map_err(unwritable)?;
            let name = name.trim_matches('"');
            let limit = if with_limit { "with limit/" } else { "" };
            let slot = format!("{name}/{currency}/{limit}{number}");
            let content = (
                &balance.balance_amount,
                balance.credit_limit_included,
                balance.reference_date,
            );
            let content = self.content_digest("balance", &content)?;
            let last = sqlx::query(
                "SELECT at, content FROM balance WHERE account = ? AND slot = ? ORDER BY at DESC LIMIT 1",
            )
            .bind(account)
            .bind(&slot)
            .fetch_optional(&mut **sql)
            .await?;
            let same = match &last {
                Some(row) if row.try_get::<Vec<u8>, _>("content")? == content => {
                    Some(row.try_get("at")?)
                }
                _ => None,
            };
            changed += u64::from(same.is_none());
            let at: i64 = same.unwrap_or(now);
            let details = serde_json::to_vec(balance).map_err(unwritable)?;
            let about = format!("balance/{account}/{slot}/{at}");
            let details = self.vault.seal(&about, &details).map_err(CopyError::from)?;
            sqlx::query(
                "INSERT INTO balance (account, slot, at, current, read, content, details) VALUES (?, ?, ?, 1, ?, ?, ?) \
                 ON CONFLICT (account, slot, at) DO UPDATE SET current = 1, read = excluded.read, \
                 content = excluded.content, details = excluded.details",
            )
            .bind(account)
            .bind(&slot)
            .bind(at)
            .bind(now)
            .bind(content.as_slice())
            .bind(details)
            .execute(&mut **sql)
            .await?;
        }
        Ok(changed)
    }
}

fn unwritable(_: serde_json::Error) -> SyncError {
    SyncError::Copy(CopyError::Corrupt {
        what: "what is to be written",
    })
}
