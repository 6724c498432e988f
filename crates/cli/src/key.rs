//! `picket key`.

use picket_aws::call::Call;
use serde_json::json;

use crate::client::Paging;
use crate::desk::Desk;
use crate::failure::Failure;
use crate::field::{flag, text, time};
use crate::output::Column;

/// What to do with access keys.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// List all keys, without their secrets
    List,
    /// Make a key; its secret is printed this once
    Create {
        /// Whose it is, or what it is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// Make a key useless
    Disable {
        // Not `access_key_id`: that is the key that signs, an option of all commands.
        /// The id of the key to disable
        #[arg(value_name = "KEY")]
        key: String,
    },
}

const COLUMNS: [Column; 4] = [
    ("KEY", |item| text(item, "accessKeyId")),
    ("ENABLED", |item| flag(item, "isEnabled")),
    ("CREATED", |item| time(item, "creationDate")),
    ("DESCRIPTION", |item| text(item, "description")),
];

const NEW_LINES: [Column; 2] = [
    ("access_key_id", |answer| text(answer, "accessKeyId")),
    ("secret_access_key", |answer| text(answer, "secretAccessKey")),
];

impl Verb {
    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let keys = ["picket", "v1", "keys"];
        match self {
            Self::List => desk.list(Call::get(&keys), Paging::Whole, "keys", &COLUMNS).await,
            Self::Create { description } => {
                let body = description.map_or_else(|| json!({}), |description| json!({ "description": description }));
                desk.show(Call::post(&keys).json(&body), &NEW_LINES).await
            }
            Self::Disable { key } => {
                let call = Call::post(&["picket", "v1", "keys", &key, "disable"]);
                desk.act(call, &format!("key {key} is disabled")).await
            }
        }
    }
}
