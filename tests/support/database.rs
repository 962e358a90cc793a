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
    let folder = tempfile::tempdir().expect("a temporary folder");
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
