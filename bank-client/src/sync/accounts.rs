//! The accounts of a connection, and their balances, into the copy.

use std::collections::HashSet;
use std::future::Future;

use serde::{Deserialize, Serialize};
use shared_types::account::{AccountDetails, Balance};
use shared_types::card_account::CardAccountDetails;
use shared_types::link::Links;
use sqlx::Row as _;

use super::copy::{CopyError, LocalCopy, PIECE, Write};
use super::deadline::Deadline;
use super::plan::{Known, refusal};
use super::row::digest_of;
use super::{AccountKey, SyncError};
use crate::accounts::AccountInformation;
use crate::error::{Error, ErrorKind};

/// Accounts of one kind that are taken from one connection: all of them are written at a time.
pub(super) const MOST_ACCOUNTS: usize = 1000;

/// Balances that are taken of one account: the standard has eight types.
pub(super) const MOST_BALANCES: usize = 100;

/// An account as the copy keeps it: its `resourceId`, and the details in the standard's form.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) resource: String,
    pub(super) details: serde_json::Value,
}

/// An account that the consent opens.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) card: bool,
    kept: Kept,
    /// By which it is known again when the bank gives it another `resourceId`.
    number: Option<String>,
    /// As far as the list has them.
    balances: Option<Vec<Balance>>,
    links: Option<Links>,
}

impl Given {
    pub(super) fn resource(&self) -> &str {
        &self.kept.resource
    }

    /// Whether there are transactions to be read: an account that has links says so among them.
    pub(super) fn opens_transactions(&self) -> bool {
        opens(self.links.as_ref(), "transactions")
    }
}

fn opens(links: Option<&Links>, what: &str) -> bool {
    links.is_none_or(|links| links.get(what).is_some())
}

/// The accounts of both kinds; of a kind that could not be listed, why.
pub(super) struct Listed {
    pub(super) payment: Result<Vec<Given>, Error>,
    pub(super) card: Result<Vec<Given>, Error>,
}

/// Asks the bank for the accounts, with balances as far as the consent opens them.
pub(super) async fn list(under: &AccountInformation, deadline: Deadline) -> Listed {
    let payment = async {
        let accounts = match in_time(under, deadline, under.accounts(true)).await {
            Err(error) if may_be_the_balances(&error) => {
                in_time(under, deadline, under.accounts(false)).await
            }
            accounts => accounts,
        }?;
        named(
            under,
            accounts
                .into_iter()
                .map(|account| payment(under, account))
                .collect(),
        )
    };
    let card = async {
        let accounts = match in_time(under, deadline, under.card_accounts(true)).await {
            Err(error) if error.is_not_offered() => Ok(Vec::new()),
            Err(error) if may_be_the_balances(&error) => {
                in_time(under, deadline, under.card_accounts(false)).await
            }
            accounts => accounts,
        }?;
        named(
            under,
            accounts
                .into_iter()
                .map(|account| card(under, account))
                .collect(),
        )
    };
    let mut listed = Listed {
        payment: payment.await,
        card: card.await,
    };
    let accounts = [&mut listed.payment, &mut listed.card];
    for account in accounts.into_iter().flatten().flatten() {
        // A bank that is down now will not be well for the next account.
        if account
            .fill_balances(under, deadline)
            .await
            .is_err_and(|error| error.is_transient())
        {
            break;
        }
    }
    listed
}

/// An answer, if it comes before the run ends.
async fn in_time<T>(
    under: &AccountInformation,
    deadline: Deadline,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let outcome = deadline.wait(Box::pin(answer)).await;
    outcome.unwrap_or_else(|late| Err(under.bank().error(late)))
}

fn may_be_the_balances(error: &Error) -> bool {
    matches!(refusal(error), Some((400 | 401 | 403, _)))
}

/// Each account once, and none without an id: without one nothing can be asked of it.
fn named(
    under: &AccountInformation,
    accounts: Result<Vec<Option<Given>>, Error>,
) -> Result<Vec<Given>, Error> {
    let accounts: Vec<Given> = accounts?.into_iter().flatten().collect();
    if accounts.len() > MOST_ACCOUNTS {
        let limit = MOST_ACCOUNTS;
        return Err(under.bank().error(ErrorKind::TooMany { limit }));
    }
    let mut ids = HashSet::new();
    if accounts
        .iter()
        .all(|account| ids.insert(account.resource()))
    {
        Ok(accounts)
    } else {
        Err(under
            .bank()
            .malformed("resourceId", "two accounts have the same"))
    }
}

fn payment(
    under: &AccountInformation,
    mut account: AccountDetails,
) -> Result<Option<Given>, Error> {
    let (balances, links) = (account.balances.take(), account.links.take());
    let currency = account.currency;
    let number = account
        .iban
        .as_ref()
        .map(ToString::to_string)
        .or_else(|| account.bban.as_ref().map(ToString::to_string));
    let number = number.map(|number| format!("{number} {currency}"));
    let resource = account.resource_id.take();
    given(under, false, resource, &account, (number, balances, links))
}

fn card(
    under: &AccountInformation,
    mut account: CardAccountDetails,
) -> Result<Option<Given>, Error> {
    let (balances, links) = (account.balances.take(), account.links.take());
    let number = format!("{} {}", account.masked_pan, account.currency);
    let resource = account.resource_id.take();
    given(
        under,
        true,
        resource,
        &account,
        (Some(number), balances, links),
    )
}

type Rest = (Option<String>, Option<Vec<Balance>>, Option<Links>);

fn given(
    under: &AccountInformation,
    card: bool,
    resource: Option<String>,
    details: &impl Serialize,
    (number, balances, links): Rest,
) -> Result<Option<Given>, Error> {
    let Some(resource) = resource else {
        return Ok(None);
    };
    if balances
        .as_ref()
        .is_some_and(|all| all.len() > MOST_BALANCES)
    {
        let limit = MOST_BALANCES;
        return Err(under.bank().error(ErrorKind::TooMany { limit }));
    }
    let details = serde_json::to_value(details)
        .map_err(|fault| under.bank().malformed("accounts", fault.to_string()))?;
    Ok(Some(Given {
        card,
        kept: Kept { resource, details },
        number,
        balances,
        links,
    }))
}

impl Given {
    /// A bank that gives no balances along with its list may give them one by one. That it does not is no failure of the
    /// run.
    async fn fill_balances(
        &mut self,
        under: &AccountInformation,
        deadline: Deadline,
    ) -> Result<(), Error> {
        if self.balances.is_some() || !opens(self.links.as_ref(), "balances") {
            return Ok(());
        }
        let id = self.resource();
        let read = async {
            Ok(if self.card {
                under.card_balances(id).await?.balances
            } else {
                under.balances(id).await?.balances
            })
        };
        let mut balances = in_time(under, deadline, read).await?;
        balances.truncate(MOST_BALANCES);
        self.balances = Some(balances);
        Ok(())
    }
}

/// What became of the accounts in the copy.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) keys: Vec<AccountKey>,
    pub(super) new: u64,
    pub(super) gone: u64,
    pub(super) balances_changed: u64,
}

impl LocalCopy {
    /// Writes down the accounts of one kind, and marks those that are not given any more.
    pub(super) async fn store_accounts(
        &self,
        connection: &str,
        card: bool,
        given: &[Given],
        now: i64,
    ) -> Result<Stored, SyncError> {
        let mut stored = Stored::default();
        let mut sql = self.begin().await?;
        sqlx::query("UPDATE account SET position = -1 WHERE connection = ? AND card = ?")
            .bind(connection)
            .bind(card)
            .execute(&mut *sql)
            .await?;
        let mut ids: Vec<Option<i64>> = vec![None; given.len()];
        // First those that are known by their resourceId: of what is left, each has none of those that are given, and may be
        // known by its number.
        for known_by in [Mark::Resource, Mark::Number] {
            for (position, (account, id)) in given.iter().zip(&mut ids).enumerate() {
                let writing = Writing {
                    copy: self,
                    connection,
                    account,
                    now,
                    position: i64::try_from(position).unwrap_or(i64::MAX),
                };
                if id.is_none() {
                    *id = writing.account(&mut sql, known_by, &mut stored).await?;
                }
            }
        }
        let gone = sqlx::query(
            "UPDATE account SET gone = ? WHERE connection = ? AND card = ? AND position < 0 AND gone IS NULL",
        )
        .bind(now)
        .bind(connection)
        .bind(card)
        .execute(&mut *sql)
        .await?;
        stored.gone = gone.rows_affected();
        sql.commit().await?;
        stored.keys = ids.into_iter().flatten().map(AccountKey).collect();
        self.store_balances(given, &mut stored, now).await?;
        Ok(stored)
    }

    /// Writes down the balances, so many accounts at a time that others who write do not wait for long.
    async fn store_balances(
        &self,
        given: &[Given],
        stored: &mut Stored,
        now: i64,
    ) -> Result<(), SyncError> {
        let all: Vec<_> = stored.keys.iter().zip(given).collect();
        for piece in all.chunks(PIECE / MOST_BALANCES) {
            let mut sql = self.begin().await?;
            for (account, given) in piece {
                if let Some(balances) = &given.balances {
                    stored.balances_changed += self
                        .put_balances(&mut sql, account.0, balances, now)
                        .await?;
                }
            }
            sql.commit().await?;
        }
        Ok(())
    }

    /// What decides how an account's transactions are asked for.
    pub(super) async fn known(&self, account: AccountKey) -> Result<Known, CopyError> {
        let row =
            sqlx::query("SELECT complete, reference, in_flight, refused FROM account WHERE id = ?")
                .bind(account.0)
                .fetch_one(&self.pool)
                .await?;
        let day = |column: &'static str| {
            let text: Option<String> = row.try_get(column)?;
            text.map(|text| text.parse())
                .transpose()
                .map_err(|_| CopyError::Corrupt {
                    what: "account.complete, account.refused",
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
        Ok(Known {
            complete: day("complete")?,
            reference,
            in_flight: row.try_get::<i64, _>("in_flight")? != 0,
            refused: day("refused")?,
        })
    }

    /// Writes down what a refusal has taught.
    pub(super) async fn learn(&self, account: AccountKey, known: &Known) -> Result<(), CopyError> {
        sqlx::query(
            "UPDATE account SET refused = ?, reference = CASE WHEN ? THEN reference END WHERE id = ?",
        )
        .bind(known.refused.map(|day| day.to_string()))
        .bind(known.reference.is_some())
        .bind(account.0)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// By what an account is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// Its `resourceId`.
    Resource,
    /// Its number, where the bank has changed that.
    Number,
}

struct Writing<'a> {
    copy: &'a LocalCopy,
    connection: &'a str,
    account: &'a Given,
    now: i64,
    position: i64,
}

impl Writing<'_> {
    /// Writes an account over the one that is known by that mark, and makes a new one if there is no other mark to know
    /// it by.
    async fn account(
        &self,
        sql: &mut Write,
        known_by: Mark,
        stored: &mut Stored,
    ) -> Result<Option<i64>, SyncError> {
        let digester = &self.copy.digester;
        let resource = digester.of("resource", &[self.account.resource().as_bytes()]);
        let number = self
            .account
            .number
            .as_ref()
            .map(|number| digester.of("number", &[number.as_bytes()]).to_vec());
        let known = match (known_by, &number) {
            (Mark::Resource, _) => self.by_resource(sql, &resource).await?,
            (Mark::Number, Some(number)) => self.by_number(sql, number).await?,
            (Mark::Number, None) => None,
        };
        let id = match (known, known_by) {
            (Some(id), _) => id,
            (None, Mark::Resource) => return Ok(None),
            (None, Mark::Number) => {
                stored.new += 1;
                self.insert(sql, &resource).await?
            }
        };
        let content = digest_of(digester, "account", &self.account.kept).map_err(unwritable)?;
        let details = serde_json::to_vec(&self.account.kept).map_err(unwritable)?;
        let details = self
            .copy
            .vault
            .seal(&format!("account/{id}"), &details)
            .map_err(CopyError::from)?;
        sqlx::query(
            "UPDATE account SET resource = ?1, number = ?2, position = ?3, gone = NULL, \
             details = CASE WHEN content = ?4 THEN details ELSE ?5 END, content = ?4 WHERE id = ?6",
        )
        .bind(resource.as_slice())
        .bind(number)
        .bind(self.position)
        .bind(content.as_slice())
        .bind(details)
        .bind(id)
        .execute(&mut **sql)
        .await?;
        Ok(Some(id))
    }

    async fn insert(&self, sql: &mut Write, resource: &[u8]) -> Result<i64, SyncError> {
        let inserted = sqlx::query(
            "INSERT INTO account (connection, card, resource, position, content, details, first_seen) \
             VALUES (?, ?, ?, 0, x'', x'', ?)",
        )
        .bind(self.connection)
        .bind(self.account.card)
        .bind(resource)
        .bind(self.now)
        .execute(&mut **sql)
        .await?;
        Ok(inserted.last_insert_rowid())
    }

    async fn by_resource(
        &self,
        sql: &mut Write,
        resource: &[u8],
    ) -> Result<Option<i64>, SyncError> {
        let found = sqlx::query(
            "SELECT id FROM account WHERE connection = ? AND card = ? AND resource = ?",
        )
        .bind(self.connection)
        .bind(self.account.card)
        .bind(resource)
        .fetch_optional(&mut **sql)
        .await?;
        Ok(found.map(|row| row.try_get("id")).transpose()?)
    }

    /// The oldest with that number that is not among those that are given.
    async fn by_number(&self, sql: &mut Write, number: &[u8]) -> Result<Option<i64>, SyncError> {
        let found = sqlx::query(
            "SELECT id FROM account WHERE connection = ? AND card = ? AND number = ? AND position < 0 \
             ORDER BY id LIMIT 1",
        )
        .bind(self.connection)
        .bind(self.account.card)
        .bind(number)
        .fetch_optional(&mut **sql)
        .await?;
        Ok(found.map(|row| row.try_get("id")).transpose()?)
    }
}

impl LocalCopy {
    /// Writes down balances, those that have changed as new ones; says how many these are.
    async fn put_balances(
        &self,
        sql: &mut Write,
        account: i64,
        balances: &[Balance],
        now: i64,
    ) -> Result<u64, SyncError> {
        sqlx::query("UPDATE balance SET current = 0 WHERE account = ? AND current = 1")
            .bind(account)
            .execute(&mut **sql)
            .await?;
        let mut changed = 0;
        for (index, balance) in balances.iter().enumerate() {
            let kind = serde_json::to_string(&balance.balance_type).map_err(unwritable)?;
            let number = balances
                .iter()
                .take(index)
                .filter(|earlier| earlier.balance_type == balance.balance_type)
                .count();
            let slot = format!("{}/{number}", kind.trim_matches('"'));
            let said = (
                &balance.balance_amount,
                balance.credit_limit_included,
                balance.reference_date,
            );
            let content = digest_of(&self.digester, "balance", &said).map_err(unwritable)?;
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
                "INSERT INTO balance (account, slot, at, current, content, details) VALUES (?, ?, ?, 1, ?, ?) \
                 ON CONFLICT (account, slot, at) DO UPDATE SET current = 1, content = excluded.content, \
                 details = excluded.details",
            )
            .bind(account)
            .bind(&slot)
            .bind(at)
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
