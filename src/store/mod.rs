//! The database: pools, migrations, transactions. One file per table family; the only room that knows SQL.
//!
//! One SQL text serves SQLite and PostgreSQL: `$1` placeholders, text ids, times as `bigint` milliseconds, JSON as
//! text. SQLite has one writer connection and a read pool, because a deferred transaction that reads and then writes
//! can fail at once with `SQLITE_BUSY`.

/// A struct that a row of a query becomes, column by column of its fields' names. The library's derive does the same, and
/// compiles SQLite and the whole library a second time for the build.
macro_rules! row {
    (
        $(#[$about:meta])*
        $visible:vis struct $name:ident {
            $($(#[$field_about:meta])* $field_visible:vis $field:ident: $type:ty),* $(,)?
        }
    ) => {
        $(#[$about])*
        $visible struct $name {
            $($(#[$field_about])* $field_visible $field: $type),*
        }

        impl<'r, R: sqlx::Row> sqlx::FromRow<'r, R> for $name
        where
            &'static str: sqlx::ColumnIndex<R>,
            $($type: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>),*
        {
            fn from_row(row: &'r R) -> sqlx::Result<Self> {
                Ok(Self { $($field: row.try_get(stringify!($field))?),* })
            }
        }
    };
}

mod alert;
mod approval;
mod audit;
mod effect;
mod execution;
mod inbox;
mod job;
mod message;
mod overview;
mod pending_command;
mod replica;
mod retention;
mod setting;
mod silence;
mod similar;

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool, Transaction, postgres::PgPoolOptions};

pub use alert::{AlertFilter, TimelineEntry};
pub use approval::ApprovalEnd;
pub use audit::{AuditHead, AuditRow};
pub use effect::{Effect, EffectKind, NewEffect};
pub use execution::ExecutionStep;
pub use inbox::{InboxRow, NewDelivery, Recorded};
pub use message::{MemberPage, Message, PageRow};
pub use overview::Pulse;
pub use pending_command::Taken;

/// Every migration, in order. Append only.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "core", include_str!("../../migrations/0001_core.sql")),
    (3, "alert", include_str!("../../migrations/0003_alert.sql")),
    (
        4,
        "safety",
        include_str!("../../migrations/0004_safety.sql"),
    ),
    (5, "inbox", include_str!("../../migrations/0005_inbox.sql")),
    (
        6,
        "pending_command",
        include_str!("../../migrations/0006_pending_command.sql"),
    ),
    (
        7,
        "replica",
        include_str!("../../migrations/0007_replica.sql"),
    ),
    (8, "gate", include_str!("../../migrations/0008_gate.sql")),
    (
        9,
        "approval",
        include_str!("../../migrations/0009_approval.sql"),
    ),
    (
        11,
        "silence",
        include_str!("../../migrations/0011_silence.sql"),
    ),
];

/// Readers beside the one SQLite writer: the page, the API and workers seldom read at once.
const SQLITE_READERS: u32 = 4;
/// Connections to PostgreSQL of one process.
const POSTGRES_CONNECTIONS: u32 = 10;
/// How long a statement may wait for a connection or a lock before the caller hears of it.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("`{url}` is not a database URL: it begins neither with sqlite: nor with postgres:")]
    UnknownScheme { url: String },
    #[error("cannot open the database")]
    Open(#[source] sqlx::Error),
    #[error("cannot bring the database up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    #[error("the database did not answer")]
    Query(#[from] sqlx::Error),
    #[error("row {table} {id} holds what this version cannot read")]
    Corrupt {
        table: &'static str,
        id: String,
        #[source]
        source: serde_json::Error,
    },
}

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A handle to the database; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    db: Db,
}

#[derive(Clone, Debug)]
enum Db {
    Sqlite { write: SqlitePool, read: SqlitePool },
    Postgres(PgPool),
}

/// A write transaction. Dropping it rolls back.
#[derive(Debug)]
pub enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// Runs the same query tokens against whichever pool the store reads from.
macro_rules! on_read {
    ($store:expr, $pool:ident => $query:expr) => {
        match &$store.db {
            $crate::store::Db::Sqlite { read: $pool, .. } => $query,
            $crate::store::Db::Postgres($pool) => $query,
        }
    };
}
/// Runs the same query tokens inside a transaction.
macro_rules! on_tx {
    ($tx:expr, $conn:ident => $query:expr) => {
        match $tx {
            $crate::store::Tx::Sqlite(tx) => {
                let $conn = &mut **tx;
                $query
            }
            $crate::store::Tx::Postgres(tx) => {
                let $conn = &mut **tx;
                $query
            }
        }
    };
}
/// Appends PostgreSQL's row lock where SQLite, with its single writer, needs none.
macro_rules! sql_lock {
    ($tx:expr, $before:literal, $after:literal) => {
        match $tx {
            $crate::store::Tx::Sqlite(_) => concat!($before, $after),
            $crate::store::Tx::Postgres(_) => concat!($before, " for update skip locked", $after),
        }
    };
}
pub(crate) use {on_read, on_tx, sql_lock};

impl Store {
    /// Opens (and for SQLite creates) the database at `url` and brings its schema up to date.
    ///
    /// # Errors
    /// When the URL has another scheme, the database cannot be reached, or a migration fails.
    pub async fn open(url: &str) -> Result<Self> {
        let db = if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url)
                .map_err(StoreError::Open)?
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                // With less, a machine that loses power forgets the last commits: the mark that an action was
                // started among them, and it would be started again.
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(ACQUIRE_TIMEOUT)
                .foreign_keys(true);
            let write = SqlitePoolOptions::new()
                .max_connections(1)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect_with(options.clone())
                .await
                .map_err(StoreError::Open)?;
            let read = SqlitePoolOptions::new()
                .max_connections(SQLITE_READERS)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect_with(options)
                .await
                .map_err(StoreError::Open)?;
            Db::Sqlite { write, read }
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let pool = PgPoolOptions::new()
                .max_connections(POSTGRES_CONNECTIONS)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .connect(url)
                .await
                .map_err(StoreError::Open)?;
            Db::Postgres(pool)
        } else {
            let url = url.split("://").next().unwrap_or_default().to_owned();
            return Err(StoreError::UnknownScheme { url });
        };
        let store = Self { db };
        store.migrate().await?;
        Ok(store)
    }

    async fn migrate(&self) -> Result<()> {
        let migrations = MIGRATIONS
            .iter()
            .map(|&(version, name, sql)| {
                Migration::new(
                    version,
                    name.into(),
                    MigrationType::Simple,
                    sqlx::SqlStr::from_static(sql),
                    false,
                )
            })
            .collect();
        let migrator = Migrator::with_migrations(migrations);
        match &self.db {
            Db::Sqlite { write, .. } => migrator.run(write).await,
            Db::Postgres(pool) => migrator.run(pool).await,
        }
        .map_err(StoreError::Migrate)
    }

    /// Begins a write transaction.
    ///
    /// # Errors
    /// When no connection or lock can be had within five seconds.
    pub async fn begin(&self) -> Result<Tx> {
        Ok(match &self.db {
            Db::Sqlite { write, .. } => Tx::Sqlite(write.begin_with("begin immediate").await?),
            Db::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ping(&self) -> Result<()> {
        on_read!(self, pool => sqlx::query("select 1").execute(pool).await.map(drop))
            .map_err(StoreError::Query)
    }

    /// `sqlite` or `postgres`, for status pages.
    #[must_use]
    pub fn backend(&self) -> &'static str {
        match self.db {
            Db::Sqlite { .. } => "sqlite",
            Db::Postgres(_) => "postgres",
        }
    }

    /// Closes all connections after the statements in flight.
    pub async fn close(&self) {
        match &self.db {
            Db::Sqlite { write, read } => {
                read.close().await;
                write.close().await;
            }
            Db::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// Makes everything in the transaction durable, all or nothing.
    ///
    /// # Errors
    /// When the database refuses; nothing was saved then.
    pub async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
        }
        .map_err(StoreError::Query)
    }
}

/// A new id: UUIDv7, so that ids sort by the time they were made.
#[must_use]
pub fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

fn encode<T: serde::Serialize>(table: &'static str, id: &str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|source| StoreError::Corrupt {
        table,
        id: id.to_owned(),
        source,
    })
}

fn decode<T: serde::de::DeserializeOwned>(table: &'static str, id: &str, json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|source| StoreError::Corrupt {
        table,
        id: id.to_owned(),
        source,
    })
}

/// The serialized name of a plain enum, as its column holds it.
fn name_of<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(_) | Err(_) => unreachable!("only enums without fields are kept by name"),
    }
}

/// The plain enum with this serialized name.
fn named<T: serde::de::DeserializeOwned>(table: &'static str, id: &str, name: &str) -> Result<T> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).map_err(|source| {
        StoreError::Corrupt {
            table,
            id: id.to_owned(),
            source,
        }
    })
}

/// A time column. Values outside the calendar, which only damage could leave, become its nearest end.
fn instant(ms: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    })
}

fn instant_option(ms: Option<i64>) -> Option<jiff::Timestamp> {
    ms.map(instant)
}
