//! A place for files that fails from some operation on.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Changes succeed until so many were tried; reads always do.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    pub(crate) inner: Arc<InMemory>,
    n_left: Arc<AtomicI64>,
}

impl Faulty {
    pub(crate) fn over(inner: &Arc<InMemory>, n_changes: i64) -> Self {
        Self {
            inner: Arc::clone(inner),
            n_left: Arc::new(AtomicI64::new(n_changes)),
        }
    }

    /// Whether it has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.n_left.load(Ordering::SeqCst) < 0
    }

    /// There is room again.
    pub(crate) fn repair(&self) {
        self.n_left.store(i64::MAX, Ordering::SeqCst);
    }

    fn change(&self) -> Result<()> {
        if self.n_left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(Error::Generic {
                store: "faulty",
                source: "no space left on device".into(),
            });
        }
        Ok(())
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.change()?;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.change()?;
        self.inner.put_multipart_opts(location, options).await
    }

    // Spelled so because names of our own never begin like that.
    async fn r#get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.r#get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let checked = locations.map(move |location| this.change().and(location)).boxed();
        self.inner.delete_stream(checked)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.change()?;
        self.inner.copy_opts(from, to, options).await
    }
}
