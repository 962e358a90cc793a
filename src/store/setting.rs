//! Small durable settings by name, as JSON.

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

use super::{Result, Store, Tx, on_read, on_tx};

impl Store {
    /// Reads a setting; `None` if it was never saved.
    ///
    /// # Errors
    /// When the database does not answer or the saved value has another shape.
    pub async fn setting<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let value: Option<String> = on_read!(self, pool => {
            sqlx::query_scalar("select value from setting where name = $1").bind(name).fetch_optional(pool).await
        })?;
        value.map(|json| decode(name, &json)).transpose()
    }
}

impl Tx {
    /// Reads a setting inside the transaction.
    ///
    /// # Errors
    /// When the database does not answer or the saved value has another shape.
    pub async fn setting<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>> {
        let value: Option<String> = on_tx!(self, conn => {
            sqlx::query_scalar("select value from setting where name = $1").bind(name).fetch_optional(conn).await
        })?;
        value.map(|json| decode(name, &json)).transpose()
    }

    /// Saves a setting.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn save_setting<T: Serialize>(
        &mut self,
        name: &str,
        value: &T,
        now: Timestamp,
    ) -> Result<()> {
        let json = super::encode("setting", name, value)?;
        on_tx!(self, conn => {
            sqlx::query(
                "insert into setting (name, value, updated_ms) values ($1, $2, $3)
                 on conflict (name) do update set value = excluded.value, updated_ms = excluded.updated_ms",
            )
            .bind(name).bind(json).bind(now.as_millisecond()).execute(conn).await.map(drop)
        })?;
        Ok(())
    }
}

fn decode<T: DeserializeOwned>(name: &str, json: &str) -> Result<T> {
    super::decode("setting", name, json)
}
