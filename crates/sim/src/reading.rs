//! What a sensor sends: temperatures, or what an intruder makes of them.

use fastrand::Rng;

/// How many characters a compromised sensor sends instead of a temperature.
pub(crate) const N_CHARACTERS: usize = 3000;

/// A temperature from 15.1 to 29.9 degrees with at most two decimals, as a bare number.
pub(crate) fn temperature(random: &mut Rng) -> String {
    let hundredths = random.u16(1510..=2990);
    format!("{:?}", f64::from(hundredths) / 100.0)
}

/// Letters and digits.
pub(crate) fn characters(random: &mut Rng) -> String {
    std::iter::repeat_with(|| random.alphanumeric())
        .take(N_CHARACTERS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperatures_are_bare_numbers_in_range() {
        let mut random = Rng::with_seed(7);
        for _ in 0..2000 {
            let text = temperature(&mut random);
            let value: f64 = text.parse().unwrap();
            assert!((15.1..=29.9).contains(&value), "{text}");
            assert!(
                text.split_once('.')
                    .is_some_and(|(_, decimals)| (1..=2).contains(&decimals.len())),
                "{text}"
            );
        }
    }

    #[test]
    fn intruders_send_3000_characters_that_are_no_number() {
        let text = characters(&mut Rng::with_seed(7));
        assert_eq!(text.len(), 3000);
        assert!(text.parse::<f64>().is_err());
    }
}
