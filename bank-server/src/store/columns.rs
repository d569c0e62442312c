//! Columns of a row, decoded to domain types.

use std::num::NonZeroU32;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared_types::pki::eidas::OrganisationId;
use shared_types::xs2a::authorisation::{ScaApproach, ScaStatus};
use shared_types::xs2a::consent::ConsentStatus;
use sqlx::any::AnyRow;
use sqlx::{Any, Decode, Row as _, Type};

use super::{Result, StoreError};
use crate::domain::{AccountId, Arrival, MethodId, PsuId};

/// Type of a column.
pub(crate) trait Column: Sized {
    /// The type in the database.
    type Stored: for<'r> Decode<'r, Any> + Type<Any>;

    /// Decodes a stored value; `None` if it is not one of this type.
    fn decode(stored: Self::Stored) -> Option<Self>;
}

macro_rules! columns {
    ($($type:ty: |$stored:ident: $stored_type:ty| $decoded:expr;)*) => {
        $(impl Column for $type {
            type Stored = $stored_type;

            fn decode($stored: $stored_type) -> Option<Self> {
                $decoded
            }
        })*
    };
}

columns! {
    i64: |stored: i64| Some(stored);
    String: |stored: String| Some(stored);
    Vec<u8>: |stored: Vec<u8>| Some(stored);
    bool: |stored: i64| Some(stored != 0);
    u32: |stored: i64| Self::try_from(stored).ok();
    NonZeroU32: |stored: i64| Self::new(u32::try_from(stored).ok()?);
    DateTime<Utc>: |stored: i64| Self::from_timestamp(stored, 0);
    NaiveDate: |stored: String| stored.parse().ok();
    OrganisationId: |stored: String| stored.parse().ok();
    ConsentStatus: |stored: String| stored.parse().ok();
    ScaApproach: |stored: String| stored.parse().ok();
    ScaStatus: |stored: String| stored.parse().ok();
    MethodId: |stored: String| stored.parse().ok();
    PsuId: |stored: String| Some(Self(stored));
    AccountId: |stored: String| Some(Self(stored));
    Arrival: |stored: i64| Some(Self(stored));
}

impl<T: Column> Column for Option<T> {
    type Stored = Option<T::Stored>;

    fn decode(stored: Self::Stored) -> Option<Self> {
        stored.map_or(Some(None), |stored| T::decode(stored).map(Some))
    }
}

/// The columns of a row of one table. Errors name the table and the column.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'r> {
    table: &'static str,
    row: &'r AnyRow,
}

impl<'r> Columns<'r> {
    pub(crate) fn of(table: &'static str, row: &'r AnyRow) -> Self {
        Self { table, row }
    }

    pub(crate) fn get<T: Column>(self, column: &str) -> sqlx::Result<T> {
        let stored = self.row.try_get(column)?;
        T::decode(stored).ok_or_else(|| self.corrupt(column))
    }

    pub(crate) fn json<T: DeserializeOwned>(self, column: &str) -> sqlx::Result<T> {
        let stored: String = self.row.try_get(column)?;
        serde_json::from_str(&stored).map_err(|_| self.corrupt(column))
    }

    /// The error for a value that cannot be decoded.
    pub(crate) fn corrupt(self, column: &str) -> sqlx::Error {
        sqlx::Error::ColumnDecode {
            index: format!("{}.{column}", self.table),
            source: "not a value of its type".into(),
        }
    }
}

/// A value as the JSON text of that table and column.
pub(crate) fn to_json(value: &impl Serialize, what: &str) -> Result<String> {
    serde_json::to_string(value).map_err(|_| StoreError::corrupt(what))
}
