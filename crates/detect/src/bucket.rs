//! What an aligned window holds so far.

use std::net::IpAddr;

use picket_model::fleet::Quantity;
use picket_model::meter::Sizes;
use picket_model::name::CertificateId;

use crate::breach::Reading;
use crate::rule::{Basis, Rule};
use crate::source::Amount;

/// What the running window of one rule holds so far. Which window that is follows from the engine's time: at the end of
/// a window every bucket of it is emptied.
#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
pub(crate) struct Bucket {
    #[n(0)]
    content: Content,
    /// Whether the window has had its datapoint, before its end.
    #[n(1)]
    pub(crate) is_told: bool,
    /// The certificate behind what came last: evidence. Boxed, as only fixed limits ask for it.
    #[n(2)]
    #[cbor(with = "crate::snapshot::boxed_certificate")]
    certificate: Option<Box<CertificateId>>,
}

#[derive(Clone, Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
enum Content {
    #[n(0)]
    Sum(#[n(0)] u64),
    #[n(1)]
    Sizes {
        #[n(0)]
        n_messages: u32,
        #[n(1)]
        sum_bytes: u64,
        #[n(2)]
        min_bytes: u32,
        #[n(3)]
        max_bytes: u32,
    },
    /// Sorted, at most [`Bucket::ADDRESSES_MAX`].
    #[n(2)]
    Addresses(#[n(0)] Vec<IpAddr>),
    #[n(3)]
    LastCount(#[n(0)] u64),
    #[n(4)]
    LastNumber(#[n(0)] f64),
}

impl Bucket {
    /// Addresses kept of one window: who comes from more is in alarm already, or may come from anywhere.
    pub(crate) const ADDRESSES_MAX: usize = 64;

    /// The bucket that something is put into first.
    pub(crate) fn of(amount: Amount<'_>, certificate: Option<CertificateId>) -> Self {
        let content = match amount {
            Amount::Count(count) => Content::Sum(count),
            Amount::Sizes(sizes) => Content::of_sizes(sizes),
            Amount::Addresses(addresses) => {
                Content::Addresses(addresses.iter().copied().take(Self::ADDRESSES_MAX).collect())
            }
            Amount::Address(address) => Content::Addresses(vec![address.to_canonical()]),
            Amount::Last(Quantity::Count(count)) => Content::LastCount(count),
            Amount::Last(Quantity::Number(number)) => Content::LastNumber(number),
        };
        Self {
            content,
            is_told: false,
            certificate: certificate.map(Box::new),
        }
    }

    /// Puts more in.
    pub(crate) fn add(&mut self, amount: Amount<'_>, certificate: Option<CertificateId>) {
        let is_nothing = matches!(amount, Amount::Count(0));
        if !is_nothing || self.certificate.is_none() {
            match (&mut self.certificate, certificate) {
                (Some(own), Some(newer)) => **own = newer,
                (own @ None, newer) => *own = newer.map(Box::new),
                (Some(_), None) => {}
            }
        }
        match (&mut self.content, amount) {
            (Content::Sum(sum), Amount::Count(count)) => *sum = sum.saturating_add(count),
            (content @ Content::Sizes { .. }, Amount::Sizes(sizes)) => {
                let own = content.sizes().map_or(sizes, |own| own.and(sizes));
                *content = Content::of_sizes(own);
            }
            (Content::Addresses(own), Amount::Addresses(others)) => {
                for &address in others {
                    insert(own, address);
                }
            }
            (Content::Addresses(own), Amount::Address(address)) => insert(own, address),
            // A rule measures in one way only; whatever is of another kind takes the place.
            (content, amount) => *content = Self::of(amount, None).content,
        }
    }

    /// What the window holds so far, as the rule judges it. Of message sizes it is the largest where an upper bound is
    /// asked for and the smallest where a lower one is; against the fleet it is their sum.
    pub(crate) fn reading(&self, rule: &Rule) -> Reading<'_> {
        match &self.content {
            Content::Sum(count) | Content::LastCount(count) => Reading::Count(*count),
            Content::LastNumber(number) => Reading::Number(*number),
            Content::Addresses(addresses) => Reading::Addresses(addresses),
            Content::Sizes {
                sum_bytes,
                min_bytes,
                max_bytes,
                ..
            } => Reading::Count(match &rule.basis {
                Basis::Fixed(check) if check.is_lower_bound() => (*min_bytes).into(),
                Basis::Fixed(_) => (*max_bytes).into(),
                Basis::Fleet(..) | Basis::Learned | Basis::Collected => *sum_bytes,
            }),
        }
    }

    /// The certificate behind what came last.
    pub(crate) fn certificate(&self) -> Option<CertificateId> {
        self.certificate.as_deref().copied()
    }

    /// The sizes of messages, if it is about them.
    pub(crate) fn sizes(&self) -> Option<Sizes> {
        self.content.sizes()
    }
}

impl Content {
    fn of_sizes(sizes: Sizes) -> Self {
        Self::Sizes {
            n_messages: sizes.n_messages,
            sum_bytes: sizes.sum_bytes,
            min_bytes: sizes.min_bytes,
            max_bytes: sizes.max_bytes,
        }
    }

    fn sizes(&self) -> Option<Sizes> {
        match *self {
            Self::Sizes {
                n_messages,
                sum_bytes,
                min_bytes,
                max_bytes,
            } => Some(Sizes {
                n_messages,
                sum_bytes,
                min_bytes,
                max_bytes,
            }),
            _ => None,
        }
    }
}

fn insert(addresses: &mut Vec<IpAddr>, address: IpAddr) {
    let address = address.to_canonical();
    if let Err(place) = addresses.binary_search(&address)
        && addresses.len() < Bucket::ADDRESSES_MAX
    {
        addresses.insert(place, address);
    }
}
