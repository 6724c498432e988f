//! The values of a metric of a device, out of files and of what no file has yet.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use parquet::errors::Result;
use picket_model::metric::{DeviceMetric, Metric};
use picket_model::name::{DeviceName, DimensionName};
use picket_model::report::{CustomValue, Report};
use picket_model::time::Timestamp;
use picket_model::value::MetricValue;

use super::activity::Activity;
use super::column::{Cell, Column};
use super::file::{OpenFile, Span};
use super::name::{Day, FileKind, FileName};
use super::read::{Reader, Trouble};
use super::report::{ReportRow, address_of, at, custom_of, odd, port_of};
use super::row::Row;
use super::{History, HistoryError, blocking};
use crate::log::{Seq, partition_of};

mod buckets;

/// Which values are wanted.
#[derive(Clone, Debug)]
pub struct ValueQuery {
    /// Of which device: of its reports, or of its connections by this client id.
    pub device: DeviceName,
    /// Of which metric.
    pub metric: Metric,
    /// Only of what happened on topics inside the dimension, or outside.
    pub dimension: Option<(DimensionName, bool)>,
    /// Not before.
    pub from: Timestamp,
    /// Not after.
    pub until: Timestamp,
    /// Only what follows this one.
    pub after: Option<ValueKey>,
    /// At most so many.
    pub n_max: usize,
}

/// A value's place in the list, which is newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ValueKey {
    /// The time that it is listed with.
    pub at: Timestamp,
    /// Tells values of the same millisecond apart.
    pub seq: Seq,
}

impl fmt::Display for ValueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.at.millis(), self.seq)
    }
}

/// A text is not a place in a list of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected milliseconds and a number, with a colon between")]
pub struct BadValueKey;

impl FromStr for ValueKey {
    type Err = BadValueKey;

    fn from_str(text: &str) -> std::result::Result<Self, BadValueKey> {
        let (millis, seq) = text.split_once(':').ok_or(BadValueKey)?;
        Ok(Self {
            at: Timestamp::from_millis(millis.parse().map_err(|_| BadValueKey)?),
            seq: Seq(seq.parse().map_err(|_| BadValueKey)?),
        })
    }
}

/// A value with its place.
type Value = (ValueKey, MetricValue);

/// How often the files that a read needs may be merged under its hands.
const TRIES_MAX: usize = 5;

/// What a read looks through: each day's files, newest day first, and rows that wait.
struct Sight<R> {
    days: Vec<Vec<(FileName, u64)>>,
    waiting: Vec<R>,
}

impl History {
    /// The values of a metric of a device, newest first. Duplicates of reports have none. What the server itself notices
    /// of how a device reports, and how long it is away, is not kept: of these metrics there are no values.
    ///
    /// # Errors
    /// [`HistoryError::Store`].
    pub async fn values(&self, query: &ValueQuery) -> std::result::Result<Vec<Value>, HistoryError> {
        let mut found = match &query.metric {
            Metric::Device(_) | Metric::Custom(_) => {
                let waiting = |row: &ReportRow| row.record.thing == query.device;
                let wanted = query.clone();
                let read = move |reader: &Reader, sight| values_of_reports(reader, sight, &wanted);
                self.read(query, FileKind::Reports, waiting, read).await?
            }
            Metric::Broker(metric) => {
                let (metric, wanted) = (*metric, query.clone());
                let waiting = |row: &Activity| row.is_of(&query.device) || row.client_id.is_empty();
                let read = move |reader: &Reader, sight| buckets::values(reader, sight, metric, &wanted);
                self.read(query, FileKind::Activity, waiting, read).await?
            }
            Metric::Reporting(_) => Vec::new(),
        };
        found.truncate(query.n_max);
        Ok(found)
    }

    /// Whole reports of a device, oldest first, duplicates marked.
    ///
    /// # Errors
    /// [`HistoryError::Store`].
    pub async fn reports(
        &self,
        device: &DeviceName,
        from: Timestamp,
        until: Timestamp,
    ) -> std::result::Result<Vec<ReportRow>, HistoryError> {
        let query = ValueQuery {
            device: device.clone(),
            metric: Metric::Device(DeviceMetric::AllBytesIn),
            dimension: None,
            from,
            until,
            after: None,
            n_max: usize::MAX,
        };
        let waiting = |row: &ReportRow| row.record.thing == query.device;
        let wanted = query.clone();
        let read = move |reader: &Reader, sight: Sight<ReportRow>| {
            let mut rows = sight.waiting;
            for file in sight.days.iter().flatten() {
                let open = reader.open(file, ReportRow::COLUMNS)?;
                let found = reader.guarded(file, || {
                    let spans = open.rows_of(wanted.device.as_str())?;
                    spans
                        .into_iter()
                        .map(|span| open.rows(span))
                        .collect::<Result<Vec<_>>>()
                })?;
                rows.extend(found.into_iter().flatten());
            }
            rows.retain(|row: &ReportRow| wanted.from <= row.at && row.at <= wanted.until);
            rows.sort_by_key(|row| (row.at, row.seq));
            Ok(rows)
        };
        self.read(&query, FileKind::Reports, waiting, read).await
    }

    /// Reads what there is at one moment; again when files went meanwhile, and without those that are damaged.
    async fn read<R: Waiting, T: Send + 'static>(
        &self,
        query: &ValueQuery,
        kind: FileKind,
        is_wanted: impl Fn(&R) -> bool,
        read: impl Fn(&Reader, Sight<R>) -> std::result::Result<T, Trouble> + Clone + Send + 'static,
    ) -> std::result::Result<T, HistoryError> {
        let reader = Reader::of(self);
        let mut n_gone = 0;
        loop {
            let sight = self.sight(query, kind, &is_wanted);
            let (reader, read) = (reader.clone(), read.clone());
            match blocking(move || read(&reader, sight)).await? {
                Ok(found) => return Ok(found),
                Err(Trouble::Damaged(file, reason)) => self.set_aside(&file, &reason).await?,
                Err(Trouble::Gone) if n_gone < TRIES_MAX => n_gone += 1,
                // Somebody else deletes files.
                Err(Trouble::Gone) => {
                    return Err(HistoryError::Store(object_store::Error::NotFound {
                        path: query.device.to_string(),
                        source: "files go while they are read".into(),
                    }));
                }
                Err(Trouble::Store(err)) => return Err(err.into()),
            }
        }
    }

    fn sight<R: Waiting>(&self, query: &ValueQuery, kind: FileKind, is_wanted: impl Fn(&R) -> bool) -> Sight<R> {
        let n_partitions = u16::try_from(self.buffers.len()).unwrap_or(u16::MAX);
        let partition = partition_of(query.device.as_str(), n_partitions);
        // A bucket's value is listed at its end; who was connected may have come long before.
        let from = match kind {
            FileKind::Reports => query.from,
            FileKind::Activity => query.until.minus(self.limits.age_max).min(query.from),
        };
        // Both at one moment: what is written meanwhile is in one of them, and not in both.
        let buffer = self.buffer(partition);
        let rows = buffer.segments().flat_map(R::waiting);
        let mut waiting: Vec<R> = rows.filter(|row| is_wanted(row)).cloned().collect();
        let days = self
            .shelves()
            .days(partition, kind, Day::of(from), Day::of(query.until))
            .collect();
        drop(buffer);
        waiting.sort_by(|one, other| one.key().cmp(&other.key()));
        R::settle(&mut waiting);
        Sight { days, waiting }
    }
}

/// Rows that may wait for their file.
trait Waiting: Row {
    /// Those of this kind.
    fn waiting(segment: &super::buffer::Segment) -> std::slice::Iter<'_, Self>;
}

impl Waiting for ReportRow {
    fn waiting(segment: &super::buffer::Segment) -> std::slice::Iter<'_, Self> {
        segment.reports.iter()
    }
}

impl Waiting for Activity {
    fn waiting(segment: &super::buffer::Segment) -> std::slice::Iter<'_, Self> {
        segment.activity.iter()
    }
}

fn values_of_reports(
    reader: &Reader,
    sight: Sight<ReportRow>,
    query: &ValueQuery,
) -> std::result::Result<Vec<Value>, Trouble> {
    let is_in =
        |key: &ValueKey| query.from <= key.at && key.at <= query.until && query.after.is_none_or(|after| *key < after);
    let waiting = sight.waiting.iter().filter(|row| !row.is_duplicate);
    let mut waiting: Vec<Value> = waiting
        .filter_map(|row| {
            let key = ValueKey {
                at: row.at,
                seq: row.seq,
            };
            Some((key, value_of(&query.metric, &row.record.report)?))
        })
        .filter(|(key, _)| is_in(key))
        .collect();
    waiting.sort_by_key(|(key, _)| Reverse(*key));
    let mut found = Vec::new();
    for files in sight.days {
        let day = files.first().map(|(name, _)| name.shelf.day);
        let mut values = Vec::new();
        // What waits is mostly of the newest day; after a clock step it may be of any.
        let n_newer = waiting.partition_point(|(key, _)| day.is_none_or(|day| day <= Day::of(key.at)));
        values.extend(waiting.drain(..n_newer));
        for file in &files {
            let open = reader.open(file, ReportRow::COLUMNS)?;
            let read = reader.guarded(file, || values_in(&open, query))?;
            values.extend(read.into_iter().filter(|(key, _)| is_in(key)));
        }
        values.sort_by_key(|(key, _)| Reverse(*key));
        found.extend(values);
        if query.n_max <= found.len() {
            return Ok(found);
        }
    }
    found.extend(waiting);
    Ok(found)
}

/// The values that a file has. Only the columns that the metric needs are read, and only around the device's rows.
fn values_in(file: &OpenFile, query: &ValueQuery) -> Result<Vec<Value>> {
    let mut values = Vec::new();
    let until = query.until.millis().saturating_add(1);
    for span in file.rows_of(query.device.as_str())? {
        let (span, times) = file.between(span, query.from.millis(), until)?;
        if span.n_rows == 0 {
            continue;
        }
        let mut seqs = file.column(at::SEQ, span)?;
        let mut duplicates = file.column(at::IS_DUPLICATE, span)?;
        let mut columns = Columns::of(file, &query.metric, span)?;
        for millis in times {
            let seq = seqs.take()?.map_or(Ok(0), Cell::into_i64)?;
            let is_duplicate = duplicates.take()?.map_or(Ok(false), Cell::into_bool)?;
            let value = columns.next(&query.metric)?;
            if let Some(value) = value.filter(|_| !is_duplicate) {
                let key = ValueKey {
                    at: Timestamp::from_millis(millis),
                    seq: Seq(seq.cast_unsigned()),
                };
                values.push((key, value));
            }
        }
    }
    Ok(values)
}

/// The columns that a metric is read from.
enum Columns {
    Count(Column),
    Ports(Column),
    Addresses(Column),
    Custom(Box<[Column; 4]>),
}

impl Columns {
    fn of(file: &OpenFile, metric: &Metric, span: Span) -> Result<Self> {
        let count = |at| file.column(at, span).map(Self::Count);
        match metric {
            Metric::Device(DeviceMetric::AllBytesIn) => count(at::BYTES_IN),
            Metric::Device(DeviceMetric::AllBytesOut) => count(at::BYTES_OUT),
            Metric::Device(DeviceMetric::AllPacketsIn) => count(at::PACKETS_IN),
            Metric::Device(DeviceMetric::AllPacketsOut) => count(at::PACKETS_OUT),
            Metric::Device(DeviceMetric::NumListeningTcpPorts) => count(at::NUM_TCP_PORTS),
            Metric::Device(DeviceMetric::NumListeningUdpPorts) => count(at::NUM_UDP_PORTS),
            Metric::Device(DeviceMetric::NumEstablishedTcpConnections) => count(at::NUM_CONNECTIONS),
            Metric::Device(DeviceMetric::ListeningTcpPorts) => file.column(at::TCP_PORTS, span).map(Self::Ports),
            Metric::Device(DeviceMetric::ListeningUdpPorts) => file.column(at::UDP_PORTS, span).map(Self::Ports),
            Metric::Device(DeviceMetric::DestinationIpAddresses) => {
                file.column(at::REMOTE_ADDR, span).map(Self::Addresses)
            }
            Metric::Custom(_) => Ok(Self::Custom(Box::new([
                file.column(at::CUSTOM_NAME, span)?,
                file.column(at::CUSTOM_TYPE, span)?,
                file.column(at::CUSTOM_NUMBER, span)?,
                file.column(at::CUSTOM_TEXT, span)?,
            ]))),
            Metric::Broker(_) | Metric::Reporting(_) => Err(odd("the metric")),
        }
    }

    fn next(&mut self, metric: &Metric) -> Result<Option<MetricValue>> {
        match self {
            Self::Count(column) => {
                let count = column.take()?.map(Cell::into_i64).transpose()?;
                Ok(count.map(|count| MetricValue::Count(count.cast_unsigned())))
            }
            Self::Ports(column) => {
                let Some(list) = column.take_list()? else {
                    return Ok(None);
                };
                let ports: Result<_> = list.into_iter().flatten().map(port_of).collect();
                Ok(Some(MetricValue::Ports(ports?)))
            }
            Self::Addresses(column) => {
                let Some(list) = column.take_list()? else {
                    return Ok(None);
                };
                // Many connections go to few addresses.
                let distinct: Result<BTreeSet<String>> = list.into_iter().flatten().map(Cell::into_text).collect();
                let addresses: Result<_> = distinct?.iter().map(|text| address_of(text)).collect();
                Ok(Some(MetricValue::Addresses(addresses?)))
            }
            Self::Custom(columns) => next_custom(columns, metric),
        }
    }
}

fn next_custom(columns: &mut [Column; 4], metric: &Metric) -> Result<Option<MetricValue>> {
    let Metric::Custom(wanted) = metric else {
        return Err(odd("the metric"));
    };
    let [names, kinds, numbers, texts] = columns;
    let list = |column: &mut Column| column.take_list().map(Option::unwrap_or_default);
    let (names, kinds, numbers, texts) = (list(names)?, list(kinds)?, list(numbers)?, list(texts)?);
    let mut value = None;
    for (((name, kind), number), text) in names.into_iter().zip(kinds).zip(numbers).zip(texts) {
        let (Some(name), Some(kind)) = (name, kind) else {
            return Err(odd("custom_metrics"));
        };
        if name.into_text()? != wanted.as_str() {
            continue;
        }
        let number = number.map(Cell::into_f64).transpose()?;
        if value.is_none() {
            value = Some(custom_of(&kind.into_text()?, number)?);
        }
        match (&mut value, number, text) {
            (Some(CustomValue::NumberList(list)), Some(number), _) => list.push(number),
            (Some(CustomValue::StringList(list)), _, Some(text)) => list.push(text.into_text()?),
            (Some(CustomValue::IpList(list)), _, Some(text)) => list.push(address_of(&text.into_text()?)?),
            _ => {}
        }
    }
    Ok(value.as_ref().map(custom_value))
}

/// The value of a metric in a report, as its datapoint has it.
fn value_of(metric: &Metric, report: &Report) -> Option<MetricValue> {
    let metrics = &report.metrics;
    let (tcp, udp) = (
        metrics.listening_tcp_ports.as_ref(),
        metrics.listening_udp_ports.as_ref(),
    );
    let established = metrics.established_connections.as_ref();
    let stats = metrics.network_stats.as_ref();
    let metric = match metric {
        Metric::Custom(name) => return report.custom_metrics.get(name).map(custom_value),
        Metric::Device(metric) => metric,
        Metric::Broker(_) | Metric::Reporting(_) => return None,
    };
    let ports = |block: Option<&picket_model::report::ListeningPorts>| {
        let ports = block?.ports.as_ref()?;
        Some(MetricValue::Ports(ports.iter().map(|port| port.port).collect()))
    };
    match metric {
        DeviceMetric::AllBytesOut => stats?.bytes_out.map(MetricValue::Count),
        DeviceMetric::AllBytesIn => stats?.bytes_in.map(MetricValue::Count),
        DeviceMetric::AllPacketsOut => stats?.packets_out.map(MetricValue::Count),
        DeviceMetric::AllPacketsIn => stats?.packets_in.map(MetricValue::Count),
        DeviceMetric::NumListeningTcpPorts => tcp?.total.map(MetricValue::Count),
        DeviceMetric::NumListeningUdpPorts => udp?.total.map(MetricValue::Count),
        DeviceMetric::NumEstablishedTcpConnections => established?.total.map(MetricValue::Count),
        DeviceMetric::ListeningTcpPorts => ports(tcp),
        DeviceMetric::ListeningUdpPorts => ports(udp),
        DeviceMetric::DestinationIpAddresses => {
            let connections = established?.connections.as_ref()?;
            Some(MetricValue::Addresses(
                connections.iter().map(|one| one.remote_addr).collect(),
            ))
        }
    }
}

fn custom_value(value: &CustomValue) -> MetricValue {
    match value {
        CustomValue::Number(number) => MetricValue::Number(*number),
        CustomValue::NumberList(list) => MetricValue::Numbers(list.clone()),
        CustomValue::StringList(list) => MetricValue::Strings(list.clone()),
        CustomValue::IpList(list) => MetricValue::Addresses(list.iter().copied().collect()),
    }
}
