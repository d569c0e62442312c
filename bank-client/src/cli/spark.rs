//! A course of figures in one line.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

/// From the least to the greatest.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One block for each figure, or for several in a row if there are more of them than there is room: then their last one
/// counts, for a balance is what it was at the end. Figures that are all alike are a line in the middle.
pub(super) fn sparkline(figures: &[Decimal], room: usize) -> String {
    let (Some(least), Some(greatest)) = (figures.iter().min(), figures.iter().max()) else {
        return String::new();
    };
    let span = greatest.saturating_sub(*least);
    let each = figures.len().div_ceil(room.max(1));
    let shown = figures.rchunks(each).rev().filter_map(|some| some.last());
    shown
        .map(|figure| block(figure.saturating_sub(*least), span))
        .collect()
}

fn block(above: Decimal, span: Decimal) -> char {
    let steps = Decimal::from(BLOCKS.len() - 1);
    let place = above
        .checked_mul(steps)
        .and_then(|place| place.checked_div(span));
    let place = place.map_or(Some(BLOCKS.len() / 2), |place| place.round().to_usize());
    place
        .and_then(|place| BLOCKS.get(place))
        .copied()
        .unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn courses_are_drawn() {
        for (figures, room, drawn) in [
            (vec![], 8, ""),
            (vec![5], 8, "▅"),
            (vec![5, 5, 5], 8, "▅▅▅"),
            (vec![0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█"),
            (vec![-100, 0, 100], 8, "▁▅█"),
            (vec![100, -100], 8, "█▁"),
            // Of each two the last.
            (vec![0, 7, 7, 0, 0, 7], 3, "█▁█"),
            // The oldest has less company.
            (vec![7, 0, 3], 2, "█▄"),
            (vec![1, 2], 0, "█"),
        ] {
            let figures: Vec<Decimal> = figures.into_iter().map(Decimal::from).collect();
            assert_eq!(sparkline(&figures, room), drawn, "{figures:?}");
        }
        assert_eq!(
            sparkline(&[Decimal::MIN, Decimal::MAX], 2).chars().count(),
            2
        );
    }
}
