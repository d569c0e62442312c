//! Sparkline: a series of figures as one line of block characters.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

/// Blocks from the lowest to the highest.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws one block for each figure. If there are more than fit, one block stands for several, with
/// the value of the last, because a day's balance is its closing balance. Equal figures are drawn
/// at half height.
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
    fn series_are_drawn_as_blocks() {
        for (figures, room, drawn) in [
            (vec![], 8, ""),
            (vec![5], 8, "▅"),
            (vec![5, 5, 5], 8, "▅▅▅"),
            (vec![0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█"),
            (vec![-100, 0, 100], 8, "▁▅█"),
            (vec![100, -100], 8, "█▁"),
            // Of each two the last.
            (vec![0, 7, 7, 0, 0, 7], 3, "█▁█"),
            // The oldest block stands for fewer figures.
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
