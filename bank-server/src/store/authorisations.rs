//! Repository of authorisations, and of the status changes that they bring to consents.

use chrono::{DateTime, Utc};
use shared_types::pki::eidas::OrganisationId;
use shared_types::xs2a::authorisation::{ScaApproach, ScaStatus};
use shared_types::xs2a::consent::ConsentStatus;
use sqlx::any::AnyRow;
use sqlx::{Any, Executor, FromRow, Row as _};
use uuid::Uuid;

use super::columns::{Columns, to_json};
use super::consents::{Rule, by_id, change_in, open_accounts, replace_older};
use super::credentials::{CredentialsVersion, is_current};
use super::{AdvisoryLock, Database, Result, StoreError, WriteTransaction};
use crate::domain::{ApprovedAccess, Authorisation, AuthorisationKey, Consent, MethodId, PsuId};

/// A TPP's request to start an authorisation.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// The TPP.
    pub tpp: &'a OrganisationId,
    /// For which of its consents.
    pub consent_id: &'a str,
    /// The request's `X-Request-ID`.
    pub request_id: Uuid,
    /// Digest of the request: the same id with another digest is refused.
    pub digest: &'a str,
    /// The PSU whom it names.
    pub psu: Option<&'a PsuId>,
    /// The approach that was chosen.
    pub approach: ScaApproach,
    /// Redirect URI after success.
    pub redirect_uri: Option<&'a str>,
    /// Redirect URI after failure.
    pub nok_redirect_uri: Option<&'a str>,
}

/// An authorisation to store, from a TPP's request.
#[derive(Debug, Clone, Copy)]
pub struct NewAuthorisation<'a> {
    /// The id it will have.
    pub id: Uuid,
    /// The request.
    pub start: Start<'a>,
    /// The status it begins with.
    pub status: ScaStatus,
    /// The time.
    pub now: DateTime<Utc>,
}

/// Outcome of storing a new authorisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// It is stored. For a repeated request: it was stored before, and this is it.
    Authorisation(Authorisation),
    /// The request id was used for another request.
    OtherRequest,
    /// The consent has the maximum number of authorisations.
    TooMany,
    /// Too many approvals wait for the customer.
    TooManyWaiting,
}

/// Outcome of a status change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advanced {
    /// The status has changed.
    Done,
    /// Another request has changed the status before.
    Overtaken,
    /// Too many approvals wait for the customer.
    TooManyWaiting,
    /// The customer's credentials have changed since the authentication.
    CredentialsChanged,
}

/// Limits on authorisations that wait in a customer's app.
#[derive(Debug, Clone, Copy)]
pub struct WaitingLimits<'a> {
    /// The customer.
    pub psu: &'a PsuId,
    /// The consent.
    pub consent_id: &'a str,
    /// Authorisations that were started before this have ended.
    pub since: DateTime<Utc>,
    /// Maximum of one TPP.
    pub max_of_tpp: i64,
    /// Maximum of all TPPs.
    pub max_of_all: i64,
}

/// Rules of the state machine that an approval applies.
#[derive(Clone, Copy)]
pub struct ApprovalRules<'a> {
    /// The next status of the consent; the flag is set if no further approval is needed.
    pub approved: &'a (dyn Fn(&Consent, bool) -> Option<ConsentStatus> + Sync),
    /// The next status of the older consent that it replaces.
    pub replaced: Rule<'a>,
}

/// Outcome of an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approved {
    /// The status that the consent has now.
    Consent(ConsentStatus),
    /// The authorisation was over before.
    AuthorisationOver,
    /// The consent is not waiting for an approval.
    ConsentOver,
}

/// Authorisations in the database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuthorisationStore {
    database: Database,
}

macro_rules! fields {
    () => {
        "a.id, a.consent_id, a.psu, a.by_log_in, a.approach, a.status, a.method, a.redirect_uri, \
         a.nok_redirect_uri, a.created, a.last_action, a.shown, a.refused, a.request_digest"
    };
}

/// Columns of an authorisation, of a table or query that is called `a`.
pub(super) const FIELDS: &str = fields!();

const COLUMNS: &str = concat!("SELECT ", fields!(), " FROM authorisation a");

/// Number of customers who have approved a consent.
const APPROVALS: &str = "SELECT COUNT(DISTINCT psu) FROM authorisation \
     WHERE consent_id = $1 AND status IN ('finalised', 'exempted')";

impl AuthorisationStore {
    /// The authorisations in that database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Stores an authorisation, if its consent has fewer than `max_per_consent`, and within the
    /// limits, if there are any. A request id has one effect: a repeated request returns the first
    /// outcome.
    pub async fn insert(
        &self,
        new: NewAuthorisation<'_>,
        max_per_consent: i64,
        limits: Option<WaitingLimits<'_>>,
    ) -> Result<Started> {
        let start = new.start;
        let request_id = start.request_id.to_string();
        let mut transaction = self.database.begin_write().await?;
        // No other authorisation of this consent is stored until the transaction ends.
        by_id(&mut transaction, start.consent_id).await?;
        let (stored, same): (i64, i64) = sqlx::query_as(
            "SELECT COUNT(*), COALESCE(SUM(CASE WHEN request_id = $2 THEN 1 ELSE 0 END), 0) \
             FROM authorisation WHERE consent_id = $1",
        )
        .bind(start.consent_id)
        .bind(&request_id)
        .fetch_one(&mut *transaction)
        .await?;
        if same == 0 {
            if stored >= max_per_consent {
                return Ok(Started::TooMany);
            }
            if let Some(limits) = limits
                && !is_within_limits(&mut transaction, limits).await?
            {
                return Ok(Started::TooManyWaiting);
            }
        }
        sqlx::query(
            "INSERT INTO authorisation (id, consent_id, request_id, psu, approach, status, \
             redirect_uri, nok_redirect_uri, created, last_action, request_digest) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10) \
             ON CONFLICT (consent_id, request_id) DO NOTHING",
        )
        .bind(new.id.to_string())
        .bind(start.consent_id)
        .bind(request_id)
        .bind(start.psu.map(|psu| psu.0.as_str()))
        .bind(start.approach.as_str())
        .bind(new.status.as_str())
        .bind(start.redirect_uri)
        .bind(start.nok_redirect_uri)
        .bind(new.now.timestamp())
        .bind(start.digest)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let found = self.by_request(start).await?;
        found.ok_or_else(|| StoreError::corrupt("authorisation"))
    }

    /// The outcome of an earlier request of that id.
    pub async fn by_request(&self, start: Start<'_>) -> Result<Option<Started>> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE a.consent_id = $1 AND a.request_id = $2"
        )))
        .bind(start.consent_id)
        .bind(start.request_id.to_string())
        .fetch_optional(self.database.pool())
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(
            if row.try_get::<String, _>("request_digest")? == start.digest {
                Started::Authorisation(Authorisation::from_row(&row)?)
            } else {
                Started::OtherRequest
            },
        ))
    }

    /// That authorisation, if it is of that consent and the consent is that TPP's.
    pub async fn find(&self, key: AuthorisationKey<'_>) -> Result<Option<Authorisation>> {
        let found = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} JOIN consent c ON c.id = a.consent_id WHERE a.id = $1 AND a.consent_id = \
             $2 AND c.tpp = $3"
        )));
        let found = found.bind(key.id).bind(key.consent_id);
        let found = found.bind(key.tpp.as_str());
        Ok(found.fetch_optional(self.database.pool()).await?)
    }

    /// By its id alone, for the customer's side.
    pub async fn find_for_customer(&self, id: &str) -> Result<Option<Authorisation>> {
        let found = sqlx::query_as(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE a.id = $1")));
        Ok(found.bind(id).fetch_optional(self.database.pool()).await?)
    }

    /// All of a consent, the oldest first.
    pub async fn of_consent(&self, consent_id: &str) -> Result<Vec<Authorisation>> {
        let all = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE a.consent_id = $1 ORDER BY a.created, a.id"
        )));
        Ok(all.bind(consent_id).fetch_all(self.database.pool()).await?)
    }

    /// Number of customers who have approved that consent.
    pub async fn approvals_of(&self, consent_id: &str) -> Result<u32> {
        let approvals = sqlx::query_scalar::<_, i64>(APPROVALS).bind(consent_id);
        let approvals = approvals.fetch_one(self.database.pool()).await?;
        u32::try_from(approvals).map_err(|_| StoreError::corrupt("authorisation"))
    }

    /// Authorisations that were started since then and wait for that customer in the bank's app,
    /// the newest first.
    pub async fn waiting_for(
        &self,
        psu: &PsuId,
        since: DateTime<Utc>,
    ) -> Result<Vec<Authorisation>> {
        let waiting = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE a.psu = $1 AND a.status IN ('started', 'psuAuthenticated') AND \
             a.approach = 'DECOUPLED' AND a.last_action > $2 ORDER BY a.created DESC, a.id"
        )));
        let waiting = waiting.bind(&psu.0).bind(since.timestamp());
        Ok(waiting.fetch_all(self.database.pool()).await?)
    }

    /// Whether that customer has approved a consent of the same TPP with a second element, in an
    /// authorisation that was started after that time.
    pub async fn has_authenticated(
        &self,
        psu: &PsuId,
        consent_id: &str,
        after: DateTime<Utc>,
    ) -> Result<bool> {
        let row = sqlx::query(
            "SELECT 1 AS there FROM authorisation a JOIN consent c ON c.id = a.consent_id WHERE \
             a.psu = $1 \
             AND a.status = 'finalised' AND a.created > $2 AND c.tpp = (SELECT tpp FROM consent \
             WHERE id = $3) LIMIT 1",
        )
        .bind(&psu.0)
        .bind(after.timestamp())
        .bind(consent_id)
        .fetch_optional(self.database.pool())
        .await?;
        Ok(row.is_some())
    }

    /// Moves an authorisation from the status in which it was read to another. Changes nothing if
    /// its status or its customer has changed since.
    pub async fn advance(
        &self,
        seen: &Authorisation,
        to: ScaStatus,
        change: Change<'_>,
        limits: Option<WaitingLimits<'_>>,
        now: DateTime<Utc>,
    ) -> Result<Advanced> {
        let mut transaction = self.database.begin_write().await?;
        if let (Some(psu), Some(version)) = (change.psu, change.credentials)
            && !is_current(&mut transaction, psu, version).await?
        {
            return Ok(Advanced::CredentialsChanged);
        }
        if let Some(limits) = limits
            && !is_within_limits(&mut transaction, limits).await?
        {
            return Ok(Advanced::TooManyWaiting);
        }
        let is_moved = transition(&mut *transaction, seen, to, change, now).await?;
        transaction.commit().await?;
        Ok(if is_moved {
            Advanced::Done
        } else {
            Advanced::Overtaken
        })
    }

    /// Ends an authorisation with success, and counts it for its consent: all or nothing.
    ///
    /// `opening` is the choice of the first customer who approves; later ones change nothing.
    /// `rules` return the next status of the consents.
    ///
    /// Takes locks in the same order as every change of authorisations: the customer's lock, the
    /// authorisation, the consents.
    pub async fn approve(
        &self,
        seen: &Authorisation,
        to: ScaStatus,
        psu: &PsuId,
        opening: Option<&ApprovedAccess>,
        rules: ApprovalRules<'_>,
        now: DateTime<Utc>,
    ) -> Result<Approved> {
        let mut transaction = self.database.begin_write().await?;
        // The customer whose lock guards the consent: the one who approved it first, if one has.
        let owner: Option<Option<String>> =
            sqlx::query_scalar("SELECT psu FROM consent WHERE id = $1")
                .bind(&seen.consent_id)
                .fetch_optional(&mut *transaction)
                .await?;
        let owner = owner.flatten().map_or_else(|| psu.clone(), PsuId);
        // Of two consents that become valid at a time, one replaces the other.
        transaction.take(AdvisoryLock::Customer(&owner)).await?;
        let change = Change {
            psu: Some(psu),
            ..Change::default()
        };
        if !transition(&mut *transaction, seen, to, change, now).await? {
            return Ok(Approved::AuthorisationOver);
        }
        let Some(consent) = by_id(&mut transaction, &seen.consent_id).await? else {
            return Ok(Approved::ConsentOver);
        };
        // Another has approved since the owner was looked up.
        if consent.psu.as_ref().is_some_and(|psu| *psu != owner) {
            return Ok(Approved::ConsentOver);
        }
        let needed = match (consent.status, opening) {
            (ConsentStatus::Received, Some(opening)) => {
                let ApprovedAccess { access, grants, .. } = opening;
                open_accounts(&mut transaction, &consent.id, access, grants).await?;
                opening.approvals_needed
            }
            // The approved access differs from the consent's: another customer has approved in
            // between.
            (ConsentStatus::Received, None) | (ConsentStatus::PartiallyAuthorised, Some(_)) => {
                return Ok(Approved::ConsentOver);
            }
            _ => consent.approvals_needed,
        };
        let approvals = sqlx::query_scalar::<_, i64>(APPROVALS).bind(&consent.id);
        let approved = approvals.fetch_one(&mut *transaction).await?;
        let Some(status) = (rules.approved)(&consent, approved >= i64::from(needed)) else {
            return Ok(Approved::ConsentOver);
        };
        // Only a second element is an authentication: without one, what needs a fresh one stays
        // closed.
        let authenticated = (to == ScaStatus::Finalised).then_some(now.timestamp());
        transaction.mark_changed(&consent.id);
        sqlx::query(
            "UPDATE consent SET status = $1, psu = $2, approvals_needed = $3, \
             authenticated = COALESCE($4, authenticated), last_action = $5 WHERE id = $6",
        )
        .bind(status.as_str())
        .bind(&owner.0)
        .bind(i64::from(needed))
        .bind(authenticated)
        .bind(now.timestamp())
        .bind(&consent.id)
        .execute(&mut *transaction)
        .await?;
        if status == ConsentStatus::Valid {
            let replaced = rules.replaced;
            replace_older(&mut transaction, &consent, &owner.0, replaced, now).await?;
        }
        transaction.commit().await?;
        Ok(Approved::Consent(status))
    }

    /// The customer has approved, by that method or without a second element. Stores the access
    /// that takes effect once the TPP confirms that this is its own customer.
    pub async fn await_confirmation(
        &self,
        seen: &Authorisation,
        method: Option<&MethodId>,
        psu: &PsuId,
        code_digest: &str,
        opening: Option<&ApprovedAccess>,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let access = to_json(&opening, "authorisation.pending")?;
        let change = Change {
            psu: Some(psu),
            method,
            pending: Some((code_digest, &access)),
            ..Change::default()
        };
        let to = ScaStatus::Unconfirmed;
        Ok(transition(self.database.pool(), seen, to, change, now).await?)
    }

    /// Records that the password that came with its start was wrong.
    pub async fn refuse_start(&self, id: &str) -> Result<()> {
        sqlx::query("UPDATE authorisation SET refused = 1 WHERE id = $1")
            .bind(id)
            .execute(self.database.pool())
            .await?;
        Ok(())
    }

    /// The digest of the confirmation code, and the access that takes effect then.
    pub async fn pending(&self, id: &str) -> Result<Option<(String, Option<ApprovedAccess>)>> {
        let row = sqlx::query(
            "SELECT confirmation, pending FROM authorisation WHERE id = $1 AND \
            status = 'unconfirmed'",
        )
        .bind(id)
        .fetch_optional(self.database.pool())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let row = Columns::of("authorisation", &row);
        Ok(Some((row.get("confirmation")?, row.json("pending")?)))
    }

    /// Ends an authorisation without success. If the customer has refused, the rule returns the
    /// next status of the consent.
    pub async fn fail(
        &self,
        seen: &Authorisation,
        refused: Option<Rule<'_>>,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let mut transaction = self.database.begin_write().await?;
        let (to, change) = (ScaStatus::Failed, Change::default());
        if !transition(&mut *transaction, seen, to, change, now).await? {
            return Ok(false);
        }
        if let Some(rule) = refused
            && let Some(consent) = by_id(&mut transaction, &seen.consent_id).await?
        {
            change_in(&mut transaction, &consent, rule, now).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }
}

/// Fields that change along with a status.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'a> {
    /// The customer is known now.
    pub psu: Option<&'a PsuId>,
    /// The customer was identified by a log-in at the bank.
    pub by_log_in: Option<bool>,
    /// Version of the credentials with which the customer authenticated, if at all.
    pub credentials: Option<CredentialsVersion>,
    /// The method is chosen now.
    pub method: Option<&'a MethodId>,
    /// The customer continues with another approach. A challenge of the bank's own SCA methods ends.
    pub approach: Option<ScaApproach>,
    /// The customer is shown the access to approve, while the consent has this status.
    pub shown: Option<ConsentStatus>,
    /// The approval waits for its confirmation: the digest of the code, and the access as JSON.
    pub pending: Option<(&'a str, &'a str)>,
}

/// Moves an authorisation from the status it was seen in to another. Returns false, and changes
/// nothing, if it is no longer in that status, or has another customer by now.
async fn transition(
    executor: impl Executor<'_, Database = Any>,
    seen: &Authorisation,
    to: ScaStatus,
    change: Change<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let (confirmation, access) = change.pending.unzip();
    let moved = sqlx::query(
        "UPDATE authorisation SET status = $1, psu = COALESCE($2, psu), \
         method = CASE WHEN $11 IS NULL THEN COALESCE($3, method) ELSE $3 END, approach = COALESCE($4, approach), \
         shown = COALESCE($5, shown), last_action = $6, by_log_in = COALESCE($9, by_log_in), \
         confirmation = $11, pending = $12, \
         challenge = CASE WHEN $4 IS NULL THEN challenge END \
         WHERE id = $7 AND status = $8 AND COALESCE(psu, '') = $10",
    )
    .bind(to.as_str())
    .bind(change.psu.map(|psu| psu.0.as_str()))
    .bind(change.method.map(MethodId::as_str))
    .bind(change.approach.map(ScaApproach::as_str))
    .bind(change.shown.map(ConsentStatus::as_str))
    .bind(now.timestamp())
    .bind(&seen.id)
    .bind(seen.status.as_str())
    .bind(change.by_log_in.map(i64::from))
    .bind(seen.psu.as_ref().map_or("", |psu| &psu.0))
    .bind(confirmation)
    .bind(access)
    .execute(executor)
    .await?;
    Ok(moved.rows_affected() > 0)
}

/// Whether one more may wait in the customer's app. No other transaction adds one until this one
/// ends.
async fn is_within_limits(
    transaction: &mut WriteTransaction,
    limits: WaitingLimits<'_>,
) -> Result<bool> {
    transaction.take(AdvisoryLock::Customer(limits.psu)).await?;
    let (of_all, of_tpp): (i64, i64) = sqlx::query_as(
        "SELECT COUNT(*), COALESCE(SUM(CASE WHEN c.tpp = (SELECT tpp FROM consent WHERE \
         id = $1) THEN 1 ELSE 0 END), 0) \
         FROM authorisation a JOIN consent c ON c.id = a.consent_id \
         WHERE a.psu = $2 AND a.approach = 'DECOUPLED' AND a.status IN ('started', \
         'psuAuthenticated') \
         AND a.last_action > $3 AND c.status IN ('received', 'partiallyAuthorised')",
    )
    .bind(limits.consent_id)
    .bind(&limits.psu.0)
    .bind(limits.since.timestamp())
    .fetch_one(&mut **transaction)
    .await?;
    Ok(of_tpp < limits.max_of_tpp && of_all < limits.max_of_all)
}

impl FromRow<'_, AnyRow> for Authorisation {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let row = Columns::of("authorisation", row);
        Ok(Self {
            id: row.get("id")?,
            consent_id: row.get("consent_id")?,
            psu: row.get("psu")?,
            by_log_in: row.get("by_log_in")?,
            approach: row.get("approach")?,
            status: row.get("status")?,
            method: row.get("method")?,
            redirect_uri: row.get("redirect_uri")?,
            nok_redirect_uri: row.get("nok_redirect_uri")?,
            created: row.get("created")?,
            last_action: row.get("last_action")?,
            shown: row.get("shown")?,
            refused: row.get("refused")?,
        })
    }
}
