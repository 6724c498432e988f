//! Access keys: who may call. Verifying a signature needs the secret itself, so secrets are stored sealed with a key that
//! is not in the database: the database alone is no use to a thief.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use picket_aws::sigv4::Credentials;
use picket_model::time::Timestamp;
use picket_store::registry::AccessKey;
use picket_store::{Db, StoreError};

const NONCE_LEN: usize = 12;

/// Seals and opens the secrets of access keys.
pub struct KeyRing {
    key: RandomizedNonceKey,
}

/// Why a key could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The system has no randomness, or the sealing key is unusable.
    #[error("cannot seal a secret")]
    Seal,
    /// What is stored was sealed with another key, or changed since.
    #[error("secret of access key {access_key_id} cannot be opened: the key file is not the one it was sealed with")]
    Open {
        /// Which.
        access_key_id: String,
    },
    /// It is no access key.
    #[error("access key is not usable: {reason}")]
    Malformed {
        /// What is wrong, without the secret.
        reason: &'static str,
    },
    /// The database did not do it.
    #[error("access key cannot be stored or read")]
    Store(#[from] StoreError),
}

impl KeyRing {
    /// Bytes of the sealing key.
    pub const KEY_LEN: usize = 32;

    /// A ring with this sealing key, which is kept in a file of mode 0600 beside the database.
    ///
    /// # Errors
    /// [`KeyError::Seal`]
    pub fn new(sealing_key: &[u8; Self::KEY_LEN]) -> Result<Self, KeyError> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, sealing_key).map_err(|_| KeyError::Seal)?;
        Ok(Self { key })
    }

    /// A new sealing key.
    ///
    /// # Errors
    /// [`KeyError::Seal`] when the system has no randomness.
    pub fn generate() -> Result<[u8; Self::KEY_LEN], KeyError> {
        random()
    }

    /// A new access key, which is not stored anywhere yet.
    ///
    /// # Errors
    /// [`KeyError::Seal`] when the system has no randomness.
    pub fn new_credentials() -> Result<Credentials, KeyError> {
        const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let id: [u8; 16] = random()?;
        let id: String = id
            .iter()
            .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
            .collect();
        let secret: [u8; 30] = random()?;
        Ok(Credentials {
            access_key_id: format!("AKIA{id}"),
            secret_access_key: STANDARD.encode(secret),
        })
    }

    /// Makes an access key, stores it sealed, and says it: only now is its secret known in clear.
    ///
    /// # Errors
    /// When there is no randomness, or it cannot be stored.
    pub async fn create(&self, db: &Db, description: &str, at: Timestamp) -> Result<Credentials, KeyError> {
        let credentials = Self::new_credentials()?;
        self.adopt(db, &credentials, description, at).await?;
        Ok(credentials)
    }

    /// Stores an access key that somebody else made.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] when the id is not 16 to 128 letters, digits and underscores, or the secret is empty or longer
    /// than 256 bytes; [`StoreError::Exists`] within [`KeyError::Store`] when there is one of that id.
    pub async fn adopt(
        &self,
        db: &Db,
        credentials: &Credentials,
        description: &str,
        at: Timestamp,
    ) -> Result<(), KeyError> {
        let id = &credentials.access_key_id;
        let is_id_char = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !(16..=128).contains(&id.len()) || !id.bytes().all(is_id_char) {
            return Err(KeyError::Malformed {
                reason: "its id is not 16 to 128 letters, digits and underscores",
            });
        }
        if !(1..=256).contains(&credentials.secret_access_key.len()) {
            return Err(KeyError::Malformed {
                reason: "its secret is not 1 to 256 bytes long",
            });
        }
        let key = AccessKey {
            id: id.clone(),
            sealed_secret: self.seal(credentials)?,
            description: description.to_owned(),
            created_at: at,
            disabled_at: None,
        };
        Ok(db.create_access_key(&key).await?)
    }

    /// The secret of an access key that works; `None` when there is no such key or it is disabled.
    ///
    /// # Errors
    /// When it cannot be read or opened.
    pub async fn secret_of(&self, db: &Db, access_key_id: &str) -> Result<Option<String>, KeyError> {
        match db.access_key(access_key_id).await? {
            Some(key) if key.disabled_at.is_none() => self.open(&key).map(Some),
            _ => Ok(None),
        }
    }

    /// The id is sealed with the secret, so that a secret cannot be moved to another key.
    fn seal(&self, credentials: &Credentials) -> Result<Vec<u8>, KeyError> {
        let mut sealed = credentials.secret_access_key.clone().into_bytes();
        let aad = Aad::from(credentials.access_key_id.as_bytes());
        let nonce = self
            .key
            .seal_in_place_append_tag(aad, &mut sealed)
            .map_err(|_| KeyError::Seal)?;
        Ok([nonce.as_ref().as_slice(), &sealed].concat())
    }

    fn open(&self, key: &AccessKey) -> Result<String, KeyError> {
        let unopenable = || KeyError::Open {
            access_key_id: key.id.clone(),
        };
        let (nonce, sealed) = key.sealed_secret.split_at_checked(NONCE_LEN).ok_or_else(unopenable)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| unopenable())?;
        let mut sealed = sealed.to_vec();
        let secret = self
            .key
            .open_in_place(nonce, Aad::from(key.id.as_bytes()), &mut sealed)
            .map_err(|_| unopenable())?;
        String::from_utf8(secret.to_vec()).map_err(|_| unopenable())
    }
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| KeyError::Seal)?;
    Ok(bytes)
}
