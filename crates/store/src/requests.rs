//! Requests that may come again: a client that got no answer sends the same once more.

use sqlx::AssertSqlSafe;

use crate::sql::args;
use crate::{StoreError, Tx};

/// What makes a request the same when it comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The token that its sender gave it.
    pub token: String,
    /// All that was asked, in a form of the caller's: the same for the same.
    pub parameters: String,
}

/// Where requests of one kind leave their trace: a table with the columns `request_token` and `request`.
pub(crate) struct Trace {
    /// The table.
    pub(crate) table: &'static str,
    /// Its key.
    pub(crate) key: &'static str,
    /// What its rows are, in words.
    pub(crate) what: &'static str,
}

impl Trace {
    /// Whether this very request was done before.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when another request made what has this name; [`StoreError::Rule`] when the token was given
    /// to a request for something else.
    pub(crate) async fn has(&self, tx: &mut Tx, name: &str, request: &Request) -> Result<bool, StoreError> {
        let Self { table, key, what } = self;
        let sql = format!("SELECT request_token, request FROM {table} WHERE {key} = $1");
        if let Some(row) = tx.row(AssertSqlSafe(sql), args![name]).await? {
            let token: Option<String> = row.at(0)?;
            if token.as_deref() != Some(&request.token) {
                return Err(StoreError::exists(what, name));
            }
            let parameters: Option<String> = row.at(1)?;
            return if parameters.as_deref() == Some(&request.parameters) {
                Ok(true)
            } else {
                Err(self.other_parameters(name))
            };
        }
        let sql = format!("SELECT {key} FROM {table} WHERE request_token = $1");
        match tx.row(AssertSqlSafe(sql), args![request.token.as_str()]).await? {
            Some(row) => Err(self.other_parameters(&row.at::<String>(0)?)),
            None => Ok(false),
        }
    }

    fn other_parameters(&self, name: &str) -> StoreError {
        StoreError::Rule {
            reason: format!(
                "clientRequestToken was used for {} {name} with other parameters, expected a token of its own for each request",
                self.what
            ),
        }
    }
}
