//! A fresh, migrated database of each kind for a test. A missing PostgreSQL fails the test; it never skips.

use nightbell::store::Store;
use sqlx::{Connection, PgConnection};

/// A store and what must live as long as it.
pub struct TestDatabase {
    pub store: Store,
    pub url: String,
    _folder: tempfile::TempDir,
}

/// One empty SQLite file and one empty PostgreSQL database.
pub async fn databases() -> Vec<TestDatabase> {
    vec![sqlite().await, postgres().await]
}

/// An empty SQLite file in a folder of its own.
pub async fn sqlite() -> TestDatabase {
    sqlite_in(tempfile::tempdir().expect("a temporary folder")).await
}

/// As [`sqlite`], in memory where the machine has a folder for that: for tests of so many commits that waiting for a disk
/// would be most of their time.
pub async fn quick_sqlite() -> TestDatabase {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    sqlite_in(folder.expect("a temporary folder")).await
}

async fn sqlite_in(folder: tempfile::TempDir) -> TestDatabase {
    let url = format!("sqlite://{}", folder.path().join("nightbell.db").display());
    let store = Store::open(&url)
        .await
        .expect("a fresh SQLite database opens");
    TestDatabase {
        store,
        url,
        _folder: folder,
    }
}

/// An empty database on the server that `TEST_POSTGRES_URL` names (`tests/run` starts one).
pub async fn postgres() -> TestDatabase {
    let server = std::env::var("TEST_POSTGRES_URL")
        .expect("TEST_POSTGRES_URL names a PostgreSQL server where databases may be created; tests/run starts one");
    let name = format!("t{}", nightbell::store::new_id());
    let mut admin = PgConnection::connect(&format!("{server}/postgres"))
        .await
        .expect("the test PostgreSQL answers");
    sqlx::query(sqlx::AssertSqlSafe(format!("create database {name}")))
        .execute(&mut admin)
        .await
        .expect("the test user may create databases");
    let url = format!("{server}/{name}");
    let store = Store::open(&url)
        .await
        .expect("a fresh PostgreSQL database opens");
    TestDatabase {
        store,
        url,
        _folder: tempfile::tempdir().expect("a temporary folder"),
    }
}
