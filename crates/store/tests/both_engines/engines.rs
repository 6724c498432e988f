//! A fresh database of each kind.
//!
//! PostgreSQL is a private server on a socket in its own directory. It is started once a process, as another user when
//! this one is root (whom PostgreSQL refuses), and ends with the process: a shell waits for its standard input to close.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use picket_store::{Db, DbUrl};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

/// Runs a test on a fresh database of each kind, one after the other.
pub(crate) async fn on_each<F: AsyncFn(Db)>(test: F) {
    on_each_url(async |url| {
        let db = Db::open(&url).await.expect("the database opens");
        test(db.clone()).await;
        db.close().await;
    })
    .await;
}

/// The same, for a test that opens the database itself.
pub(crate) async fn on_each_url<F: AsyncFn(DbUrl)>(test: F) {
    let folder = tempfile::tempdir().expect("a directory can be made");
    test(DbUrl::Sqlite(folder.path().join("picket.db"))).await;
    test(DbUrl::Postgres(fresh_database().await)).await;
}

/// Does to a database what only another version would.
pub(crate) async fn execute(url: &DbUrl, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    match url {
        DbUrl::Sqlite(path) => {
            let options = SqliteConnectOptions::new().filename(path);
            let mut connection = SqliteConnection::connect_with(&options).await.expect("SQLite opens");
            sqlx::query(sql).execute(&mut connection).await.map(drop)
        }
        DbUrl::Postgres(url) => {
            let mut connection = PgConnection::connect(url).await.expect("PostgreSQL opens");
            sqlx::query(sql).execute(&mut connection).await.map(drop)
        }
    }
    .expect("the statement is right");
}

/// The URL of a new database of the private PostgreSQL.
async fn fresh_database() -> String {
    static N_DATABASES: AtomicU32 = AtomicU32::new(0);
    let server = server();
    let mut connection = server.connect().await;
    let name = format!("test{}", N_DATABASES.fetch_add(1, Ordering::Relaxed));
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0")))
        .execute(&mut connection)
        .await
        .expect("a database can be made");
    server.url(&name)
}

struct Server {
    folder: PathBuf,
    /// Waits for its standard input to close, which happens when this process ends, however it ends.
    _keeper: Child,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

impl Server {
    fn start() -> Self {
        let programs = programs();
        let folder = tempfile::Builder::new()
            .prefix("pg")
            .tempdir()
            .expect("a directory can be made")
            .keep();
        let mut initdb = Command::new(programs.join("initdb"));
        initdb
            .args([
                "-U",
                "postgres",
                "-A",
                "trust",
                "--locale=C",
                "--encoding=UTF8",
                "--no-sync",
                "-D",
            ])
            .arg(folder.join("data"))
            .current_dir(&folder);
        let mut keeper = Command::new("sh");
        let script = "\"$1/postgres\" -D \"$2/data\" -k \"$2\" -c listen_addresses= -c fsync=off \
                      -c max_connections=200 >\"$2/log\" 2>&1 & server=$!; \
                      cat >/dev/null; kill -INT $server; wait $server; rm -rf \"$2\"";
        keeper
            .args(["-c", script, "-"])
            .args([&programs, &folder])
            .stdin(Stdio::piped());
        if fs::metadata("/proc/self").expect("proc is mounted").uid() == 0 {
            let (uid, gid) = another_user();
            chown(&folder, Some(uid), Some(gid)).expect("root may give a directory away");
            initdb.uid(uid).gid(gid);
            keeper.uid(uid).gid(gid);
        }
        let made = initdb.output().expect("initdb runs");
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let keeper = keeper.current_dir(&folder).spawn().expect("sh runs");
        Self {
            folder,
            _keeper: keeper,
        }
    }

    fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&user=postgres", self.folder.display())
    }

    async fn connect(&self) -> PgConnection {
        let mut last = None;
        for _ in 0..500 {
            match PgConnection::connect(&self.url("postgres")).await {
                Ok(connection) => return connection,
                Err(err) => last = Some(err),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut log = String::new();
        let read = fs::File::open(self.folder.join("log")).and_then(|mut file| file.read_to_string(&mut log));
        panic!("PostgreSQL does not answer: {last:?}; its log ({read:?}): {log}");
    }
}

/// Where `initdb` and `postgres` are.
fn programs() -> PathBuf {
    if let Some(found) = find_programs() {
        return found;
    }
    // Debian's package; only root may install it.
    let installed = Command::new("apt-get")
        .args(["install", "-y", "--no-install-recommends", "postgresql"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output();
    match (find_programs(), installed) {
        (Some(found), _) => found,
        (None, Ok(output)) => panic!(
            "these tests need PostgreSQL, and apt-get install postgresql failed: {}",
            String::from_utf8_lossy(&output.stderr)
        ),
        (None, Err(err)) => panic!("these tests need PostgreSQL (initdb and postgres in the PATH): {err}"),
    }
}

fn find_programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    let has_both = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    let found = folders.into_iter().find(has_both)?;
    // A link in the PATH does not lead to what lies beside the program.
    let program = fs::canonicalize(found.join("postgres")).ok()?;
    program.parent().map(Path::to_owned)
}

/// The user postgres, or nobody.
fn another_user() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let fields: Vec<&str> = users
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|f| f[0] == name)?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody")).unwrap_or((65_534, 65_534))
}
