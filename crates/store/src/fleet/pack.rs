//! The values of a window as bytes.
//!
//! How many counts there are, then the counts in order, each as its distance from the one before, as LEB128: a fleet that
//! does the same takes a byte or two a device. Then the numbers, 8 bytes each, little-endian.

use picket_model::fleet::Quantity;

/// Why bytes are no values.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadPack {
    /// They end within a value.
    #[error("values end after {0} bytes, within a value")]
    Cut(usize),
    /// A count would not fit 64 bits.
    #[error("a count at byte {0} is beyond 64 bits")]
    Overflow(usize),
}

/// The values as bytes, in their order by value: the order in which they came means nothing.
pub(crate) fn pack(values: &[Quantity]) -> Vec<u8> {
    let mut counts = Vec::with_capacity(values.len());
    let mut numbers = Vec::new();
    for value in values {
        match value {
            Quantity::Count(count) => counts.push(*count),
            Quantity::Number(number) => numbers.push(*number),
        }
    }
    counts.sort_unstable();
    // The same devices with the same values are the same bytes.
    numbers.sort_unstable_by(f64::total_cmp);
    let mut bytes = Vec::with_capacity(counts.len() * 2 + numbers.len() * 8 + 10);
    push(&mut bytes, counts.len() as u64);
    let mut last = 0;
    for count in counts {
        push(&mut bytes, count - last);
        last = count;
    }
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// Adds the values that were packed to `values`.
///
/// # Errors
/// The bytes are not what [`pack`] makes.
pub(crate) fn unpack(bytes: &[u8], values: &mut Vec<Quantity>) -> Result<(), BadPack> {
    let mut at = 0;
    let n_counts = pull(bytes, &mut at)?;
    let mut count = 0_u64;
    for _ in 0..n_counts {
        let distance = pull(bytes, &mut at)?;
        count = count.checked_add(distance).ok_or(BadPack::Overflow(at))?;
        values.push(Quantity::Count(count));
    }
    let (numbers, rest) = bytes.get(at..).unwrap_or_default().as_chunks::<8>();
    if !rest.is_empty() {
        return Err(BadPack::Cut(bytes.len()));
    }
    values.extend(
        numbers
            .iter()
            .map(|number| Quantity::Number(f64::from_le_bytes(*number))),
    );
    Ok(())
}

fn push(bytes: &mut Vec<u8>, mut value: u64) {
    while 0x7f < value {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}

fn pull(bytes: &[u8], at: &mut usize) -> Result<u64, BadPack> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let byte = *bytes.get(*at).ok_or(BadPack::Cut(bytes.len()))?;
        *at += 1;
        let part = u64::from(byte & 0x7f);
        value |= part
            .checked_shl(shift)
            .filter(|moved| moved >> shift == part)
            .ok_or(BadPack::Overflow(*at))?;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(BadPack::Overflow(*at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unpacked(bytes: &[u8]) -> Result<Vec<Quantity>, BadPack> {
        let mut values = Vec::new();
        unpack(bytes, &mut values).map(|()| values)
    }

    #[test]
    fn values_of_a_fleet_that_does_the_same_take_a_byte_or_two() {
        let values: Vec<Quantity> = (0..10_000).map(|n| Quantity::Count(40_000 + n * 37 % 9_000)).collect();
        assert!(pack(&values).len() < 11_000, "{}", pack(&values).len());
        assert_eq!(pack(&[]), [0]);
    }

    #[test]
    fn bytes_that_were_not_packed_are_refused() {
        let largest = pack(&[Quantity::Count(u64::MAX)]);
        assert_eq!(unpacked(&largest).unwrap(), [Quantity::Count(u64::MAX)]);
        let beyond = [&[2][..], &largest[1..], &[1]].concat();
        assert!(matches!(unpacked(&beyond), Err(BadPack::Overflow(_))));
        assert!(matches!(unpacked(&[0xff; 12]), Err(BadPack::Overflow(_))));
        for cut in [&[][..], &[0x80], &[3, 1, 1], &[0, 1, 2, 3]] {
            assert!(matches!(unpacked(cut), Err(BadPack::Cut(_))), "{cut:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(counts: Vec<u64>, numbers: Vec<f64>) {
            let values: Vec<Quantity> = counts.iter().map(|&count| Quantity::Count(count))
                .chain(numbers.iter().map(|&number| Quantity::Number(number)))
                .collect();
            let found = unpacked(&pack(&values)).unwrap();
            let order = |mut values: Vec<Quantity>| {
                values.sort_by(Quantity::compare);
                values.into_iter().map(|value| match value {
                    Quantity::Count(count) => count,
                    Quantity::Number(number) => number.to_bits(),
                }).collect::<Vec<u64>>()
            };
            prop_assert_eq!(order(found), order(values));
        }

        #[test]
        fn no_bytes_are_too_much(bytes: Vec<u8>) {
            let _ = unpacked(&bytes);
        }
    }
}
