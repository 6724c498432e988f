//! From AWS's shape to a behavior that can be judged. The rules are AWS's, and so are the words where they are known.

use super::spelling::SetKind;
use super::wire;
use super::{
    Behavior, Cidr, Confidence, Criteria, DimensionOperator, Limit, MetricDimension, NumericOperator, SetOperator,
    Statistic, Test, WindowDuration,
};
use crate::metric::{BrokerMetric, CustomMetricType, DeviceMetric, Metric, ValueShape};
use crate::name::MetricName;
use crate::value::wire::{Member, count_of, finite, port_of};

/// Why a behavior was refused; the text goes back to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Behavior {name} is malformed. {reason}")]
pub struct BadBehavior {
    /// The behavior's name as found, at most 140 characters of it.
    pub name: String,
    /// What is wrong with it, in words.
    pub reason: String,
}

impl Behavior {
    /// The behavior that was written. `type_of` tells the type of a custom metric, `None` if there is no such metric.
    /// Whether the dimension exists is for the registry to say.
    ///
    /// # Errors
    /// The first rule that the behavior breaks, in AWS's words.
    pub fn parse(
        written: wire::Behavior,
        type_of: &dyn Fn(&MetricName) -> Option<CustomMetricType>,
    ) -> Result<Self, BadBehavior> {
        let runs = Self::runs(&written)?;
        let name = shortened(&written.name);
        parsed(written, runs, type_of).map_err(|reason| BadBehavior { name, reason })
    }

    /// How many datapoints in a row raise the alarm, and how many clear it: to be refused before all else that may be wrong
    /// with a behavior, as the model of the operations does.
    ///
    /// # Errors
    /// One of them is not 1 to 10; in AWS's words.
    pub fn runs(written: &wire::Behavior) -> Result<Runs, BadBehavior> {
        runs_of(written.criteria.as_ref()).map_err(|reason| BadBehavior {
            name: shortened(&written.name),
            reason,
        })
    }
}

/// How many datapoints in a row change an alarm, as a behavior says it; `None` where it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Raise it: 1 to 10.
    pub to_alarm: Option<u8>,
    /// Clear it: 1 to 10.
    pub to_clear: Option<u8>,
}

/// The type that a custom metric must have for these criteria to fit it.
pub(super) fn inferred_type(written: &wire::Behavior) -> CustomMetricType {
    let value = written.criteria.as_ref().and_then(|criteria| criteria.value.as_ref());
    match value {
        Some(value) if value.numbers.is_some() => CustomMetricType::NumberList,
        Some(value) if value.strings.is_some() => CustomMetricType::StringList,
        Some(value) if value.cidrs.is_some() => CustomMetricType::IpAddressList,
        _ => CustomMetricType::Number,
    }
}

/// A metric with what follows from it.
struct Judged<'a> {
    metric: &'a Metric,
    shape: ValueShape,
}

fn parsed(
    written: wire::Behavior,
    runs: Runs,
    type_of: &dyn Fn(&MetricName) -> Option<CustomMetricType>,
) -> Result<Behavior, String> {
    let metric: Option<Metric> = written.metric.map(|text| text.parse()).transpose().map_err(in_words)?;
    let judged = match &metric {
        None => None,
        Some(metric) => Some(Judged {
            metric,
            shape: match metric {
                Metric::Device(metric) => metric.shape(),
                Metric::Broker(metric) => metric.shape(),
                Metric::Reporting(_) => ValueShape::Count,
                Metric::Custom(name) => type_of(name)
                    .ok_or_else(|| format!("metric {name} is none of AWS's and no custom metric of that name exists"))?
                    .shape(),
            },
        }),
    };
    let dimension = written
        .metric_dimension
        .map(|dimension| dimension_of(dimension, judged.as_ref()))
        .transpose()?;
    let criteria = match (written.criteria, judged) {
        (None, _) => None,
        (Some(criteria), Some(judged)) => Some(criteria_of(criteria, runs, &judged)?),
        (Some(_), None) => return Err("criteria requires metric to be set".to_owned()),
    };
    Ok(Behavior {
        name: written.name.parse().map_err(in_words)?,
        dimension,
        criteria,
        suppress_alerts: written.suppress_alerts,
        export_metric: written.export_metric,
        metric,
    })
}

fn dimension_of(written: wire::MetricDimension, judged: Option<&Judged<'_>>) -> Result<MetricDimension, String> {
    match judged {
        Some(Judged {
            metric: Metric::Broker(metric),
            ..
        }) if metric.takes_dimension() => {}
        Some(judged) => return Err(format!("metric {} does not support metricDimension", judged.metric)),
        None => return Err("metricDimension requires metric to be set".to_owned()),
    }
    let operator: Option<DimensionOperator> = written
        .operator
        .map(|word| word.parse())
        .transpose()
        .map_err(in_words)?;
    Ok(MetricDimension {
        name: written.dimension_name.parse().map_err(in_words)?,
        operator,
    })
}

fn criteria_of(written: wire::BehaviorCriteria, runs: Runs, judged: &Judged<'_>) -> Result<Criteria, String> {
    let duration = written.duration_seconds.map(window_of).transpose()?;
    let operator = written.comparison_operator;
    let test = match (
        written.value,
        written.statistical_threshold,
        written.ml_detection_config,
    ) {
        (Some(value), None, None) => {
            let member = value.into_member().map_err(in_words)?;
            judged.test(
                &operator.ok_or("criteria requires comparisonOperator to be set")?,
                member,
            )?
        }
        (None, Some(threshold), None) => {
            let operator = operator.ok_or("statisticalThreshold requires comparisonOperator to be set")?;
            judged.percentile(&operator, threshold)?
        }
        (None, None, Some(config)) => {
            if operator.is_some() || duration.is_some() {
                return Err("mlDetectionConfig allows neither comparisonOperator nor durationSeconds".to_owned());
            }
            judged.learned(&config)?
        }
        _ => {
            return Err(
                "criteria requires exactly one of value, statisticalThreshold and mlDetectionConfig".to_owned(),
            );
        }
    };
    judged.has_fitting(duration, &test)?;
    Ok(Criteria {
        test,
        duration,
        to_alarm: runs.to_alarm,
        to_clear: runs.to_clear,
    })
}

impl Judged<'_> {
    /// The test of a fixed value.
    fn test(&self, operator: &str, member: Member) -> Result<Test, String> {
        Ok(match (self.shape, member) {
            (ValueShape::Count, Member::Count(count)) => Test::Threshold {
                operator: self.numeric(operator)?,
                limit: Limit::Count(count_of(count).map_err(in_words)?),
            },
            (ValueShape::Number, Member::Number(number)) => Test::Threshold {
                operator: self.numeric(operator)?,
                limit: Limit::Number(finite(number).map_err(in_words)?),
            },
            (ValueShape::Ports, Member::Ports(ports)) => Test::Ports {
                operator: self.set(operator, SetKind::Ports)?,
                ports: each("ports", ports, port_of)?,
            },
            (ValueShape::Addresses, Member::Cidrs(cidrs)) => Test::Cidrs {
                operator: self.set(operator, SetKind::Cidrs)?,
                cidrs: each("cidrs", cidrs, |text| text.parse::<Cidr>())?,
            },
            (ValueShape::Numbers, Member::Numbers(numbers)) => Test::Numbers {
                operator: self.set(operator, SetKind::Plain)?,
                numbers: each("numbers", numbers, finite)?,
            },
            (ValueShape::Strings, Member::Strings(strings)) => Test::Strings {
                operator: self.set(operator, SetKind::Plain)?,
                strings: each("strings", strings, Ok::<_, String>)?,
            },
            (shape, _) => {
                return Err(format!(
                    "metric {} requires value.{} to be set",
                    self.metric,
                    member_of(shape)
                ));
            }
        })
    }

    fn percentile(&self, operator: &str, threshold: wire::StatisticalThreshold) -> Result<Test, String> {
        if !self.is_statistical() {
            return Err(format!("metric {} does not support statisticalThreshold", self.metric));
        }
        let statistic = threshold
            .statistic
            .ok_or("statisticalThreshold requires statistic to be set")?;
        Ok(Test::Percentile {
            operator: self.numeric(operator)?,
            statistic: statistic.parse::<Statistic>().map_err(in_words)?,
        })
    }

    fn learned(&self, config: &wire::MachineLearningDetectionConfig) -> Result<Test, String> {
        if !self.is_statistical() {
            return Err(format!("metric {} does not support mlDetectionConfig", self.metric));
        }
        let confidence: Confidence = config.confidence_level.parse().map_err(in_words)?;
        Ok(Test::Learned { confidence })
    }

    fn numeric(&self, operator: &str) -> Result<NumericOperator, String> {
        let operator: NumericOperator = operator.parse().map_err(|bad| self.not_for_me(bad))?;
        let is_upper_bound = matches!(operator, NumericOperator::LessThan | NumericOperator::LessThanEquals);
        if self.metric.is_age() && !is_upper_bound {
            let found = operator.as_str();
            return Err(self.not_for_me(format_args!(
                "comparisonOperator {found:?} should be one of [less-than, less-than-equals]"
            )));
        }
        Ok(operator)
    }

    fn set(&self, operator: &str, kind: SetKind) -> Result<SetOperator, String> {
        let [inside, outside] = [SetOperator::In, SetOperator::NotIn].map(|known| known.as_str(kind));
        if operator == inside {
            Ok(SetOperator::In)
        } else if operator == outside {
            Ok(SetOperator::NotIn)
        } else {
            let found: String = operator.chars().take(80).collect();
            Err(self.not_for_me(format_args!(
                "comparisonOperator {found:?} should be one of [{inside}, {outside}]"
            )))
        }
    }

    fn not_for_me(&self, reason: impl std::fmt::Display) -> String {
        format!("metric {}: {reason}", self.metric)
    }

    /// Whether the fleet's percentiles and what is learned may judge the metric.
    fn is_statistical(&self) -> bool {
        let is_number = matches!(self.shape, ValueShape::Count | ValueShape::Number);
        is_number && !self.metric.is_age() && !matches!(self.metric, Metric::Reporting(_))
    }

    /// Whether the duration is there where it must be, and absent where it must not be.
    fn has_fitting(&self, duration: Option<WindowDuration>, test: &Test) -> Result<(), String> {
        let is_list = !matches!(self.shape, ValueShape::Count | ValueShape::Number);
        let is_needed = match test {
            Test::Percentile { .. } => true,
            Test::Learned { .. } => false,
            _ => adds_up_over_time(self.metric),
        };
        match duration {
            Some(_) if is_list => Err(format!(
                "metric {} does not allow criteria's duration field to be set",
                self.metric
            )),
            None if is_needed => Err(format!(
                "metric {} requires criteria's duration field to be set",
                self.metric
            )),
            _ => Ok(()),
        }
    }
}

/// Whether a fixed limit for the metric says nothing without a duration.
fn adds_up_over_time(metric: &Metric) -> bool {
    match metric {
        Metric::Device(metric) => DeviceMetric::is_volume(*metric),
        Metric::Broker(metric) => BrokerMetric::is_counted(*metric),
        Metric::Reporting(_) | Metric::Custom(_) => false,
    }
}

fn member_of(shape: ValueShape) -> &'static str {
    match shape {
        ValueShape::Count => "count",
        ValueShape::Addresses => "cidrs",
        ValueShape::Ports => "ports",
        ValueShape::Number => "number",
        ValueShape::Numbers => "numbers",
        ValueShape::Strings => "strings",
    }
}

fn runs_of(written: Option<&wire::BehaviorCriteria>) -> Result<Runs, String> {
    let Some(written) = written else {
        return Ok(Runs::default());
    };
    Ok(Runs {
        to_alarm: run_of("consecutiveDatapointsToAlarm", written.consecutive_datapoints_to_alarm)?,
        to_clear: run_of("consecutiveDatapointsToClear", written.consecutive_datapoints_to_clear)?,
    })
}

fn run_of(what: &str, found: Option<i64>) -> Result<Option<u8>, String> {
    let in_range = |found| {
        u8::try_from(found)
            .ok()
            .filter(|run| (1..=Criteria::RUN_MAX).contains(run))
    };
    found
        .map(|found| {
            in_range(found).ok_or_else(|| format!("{what} {found} should be in range[1,{}]", Criteria::RUN_MAX))
        })
        .transpose()
}

fn window_of(secs: i64) -> Result<WindowDuration, String> {
    WindowDuration::from_secs(secs).ok_or_else(|| {
        let known = WindowDuration::ALL.map(|window| window.secs().to_string()).join(", ");
        format!("durationSeconds {secs} should be one of [{known}]")
    })
}

/// The beginning of a name that may be none.
fn shortened(name: &str) -> String {
    name.chars().take(140).collect()
}

fn each<T, U, E: ToString>(what: &str, items: Vec<T>, parse: impl Fn(T) -> Result<U, E>) -> Result<Vec<U>, String> {
    if items.is_empty() {
        return Err(format!("value.{what} should not be empty"));
    }
    items.into_iter().map(|item| parse(item).map_err(in_words)).collect()
}

fn in_words(error: impl ToString) -> String {
    error.to_string()
}
