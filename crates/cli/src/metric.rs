//! `picket metric`.

use picket_aws::call::Call;
use picket_model::name::{DeviceName, DimensionName};

use crate::client::Paging;
use crate::clock;
use crate::desk::Desk;
use crate::failure::Failure;
use crate::field::{metric_value, time};
use crate::output::Column;
use crate::violation::Moment;

/// What to do with metrics.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// List the values of a metric of one device, newest first; they are listed for two weeks
    Values {
        /// The thing; for what the server measures, its client id
        thing: DeviceName,
        /// The metric, such as aws:all-bytes-out, or the name of a custom one
        metric: String,
        /// From when on: a time such as 2026-01-02T03:04:05Z, or how long ago, such as 30m, 12h or 7d
        #[arg(long, default_value = "24h", value_name = "TIME")]
        since: Moment,
        /// Until when; now when absent
        #[arg(long, value_name = "TIME")]
        until: Option<Moment>,
        /// Only of what happened on topics of this dimension
        #[arg(long, value_name = "DIMENSION")]
        dimension: Option<DimensionName>,
        /// Only of what happened on topics that are not of the dimension
        #[arg(long, requires = "dimension")]
        outside: bool,
    },
}

const COLUMNS: [Column; 2] = [
    ("TIME", |item| time(item, "timestamp")),
    ("VALUE", |item| metric_value(item, "value")),
];

impl Verb {
    pub(crate) async fn run(self, desk: &Desk) -> Result<(), Failure> {
        let Self::Values {
            thing,
            metric,
            since,
            until,
            dimension,
            outside,
        } = self;
        let now = clock::zoned();
        let until = until.unwrap_or(Moment::At(now.timestamp()));
        let call = Call::get(&["metric-values"])
            .query("thingName", thing.as_str())
            .query("metricName", &metric)
            .query("startTime", &since.query_text(&now))
            .query("endTime", &until.query_text(&now))
            .query_if("dimensionName", dimension.as_ref().map(DimensionName::as_str))
            .query_if("dimensionValueOperator", outside.then_some("NOT_IN"));
        desk.list(call, Paging::Token, "metricDatumList", &COLUMNS).await
    }
}
