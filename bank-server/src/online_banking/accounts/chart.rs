//! Chart of an account's balance as SVG, with a summary in words and a table.

use std::fmt::Write as _;

use chrono::{Datelike as _, NaiveDate, Weekday};
use maud::{Markup, html};
use rust_decimal::Decimal;
use shared_types::xs2a::money::Currency;

use super::super::texts::Texts;

// Sizes in units of the SVG, which browsers scale.
const WIDTH: i64 = 720;
const HEIGHT: i64 = 240;
const TOP: i64 = 22;
const BOTTOM: i64 = 30;

/// Chart of the balances at the end of each day, the oldest first. Empty without balances.
pub(super) fn chart(
    texts: &Texts,
    currency: Currency,
    balances: &[(NaiveDate, Decimal)],
) -> Option<Markup> {
    let scale = Scale::of(texts, balances)?;
    let (first, last) = (balances.first()?, balances.last()?);
    let money = |value: Decimal| texts.money(value, currency);
    let summary = texts.fill(
        texts.accounts.chart_text,
        &[
            ("first", &money(first.1)),
            ("from", &texts.date(first.0)),
            ("last", &money(last.1)),
            ("to", &texts.date(last.0)),
            ("lowest", &money(scale.lowest)),
            ("highest", &money(scale.highest)),
        ],
    );
    let line = scale.line(balances);
    let (floor, left) = (HEIGHT - BOTTOM, scale.left);
    let area = format!("{line} V{floor} H{left} Z");
    Some(html! {
        figure.chart {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-labelledby="chart-text" {
                @for tick in scale.ticks() {
                    line.grid x1=(left) x2=(WIDTH) y1=(scale.y(tick)) y2=(scale.y(tick)) {}
                }
                path.area d=(area) {}
                path.line d=(line) {}
                @if scale.bottom < Decimal::ZERO && scale.top > Decimal::ZERO {
                    line.zero x1=(left) x2=(WIDTH)
                        y1=(scale.y(Decimal::ZERO)) y2=(scale.y(Decimal::ZERO)) {}
                }
                @for tick in scale.ticks() {
                    text x=(left - 8) y=(scale.y(tick) + Decimal::from(5)) text-anchor="end" {
                        (texts.round(tick))
                    }
                }
                text x=(left) y=(HEIGHT - 8) { (texts.short_date(first.0)) }
                text x=(WIDTH - 2) y=(HEIGHT - 8) text-anchor="end" { (texts.short_date(last.0)) }
            }
            figcaption #chart-text { (summary) }
        }
        details {
            summary { (texts.accounts.chart_table) }
            table {
                thead {
                    tr {
                        th scope="col" { (texts.accounts.day) }
                        th.right scope="col" { (texts.accounts.balance) }
                    }
                }
                tbody {
                    @for (day, balance) in weekly(balances) {
                        tr {
                            th scope="row" { time datetime=(day) { (texts.date(*day)) } }
                            td.right { span.amount { (money(*balance)) } }
                        }
                    }
                }
            }
        }
    })
}

/// Balances of the last day and of the Sundays before it, the newest first.
fn weekly(balances: &[(NaiveDate, Decimal)]) -> impl Iterator<Item = &(NaiveDate, Decimal)> {
    let last = balances.last().map(|(day, _)| *day);
    balances
        .iter()
        .rev()
        .filter(move |(day, _)| Some(*day) == last || day.weekday() == Weekday::Sun)
}

/// Scale from amounts and days to positions in the SVG.
struct Scale {
    lowest: Decimal,
    highest: Decimal,
    /// Values at the lower and the upper edge, multiples of the step.
    bottom: Decimal,
    top: Decimal,
    step: Decimal,
    /// Left edge of the drawing, right of the longest label.
    left: i64,
}

/// Largest width of a character of a label, which is that on a phone.
const LETTER: i64 = 13;

impl Scale {
    fn of(texts: &Texts, balances: &[(NaiveDate, Decimal)]) -> Option<Self> {
        let values = || balances.iter().map(|(_, balance)| *balance);
        let (lowest, highest) = (values().min()?, values().max()?);
        let step = step(highest - lowest);
        let bottom = (lowest / step).floor() * step;
        let mut top = (highest / step).ceil() * step;
        if top == bottom {
            top += step;
        }
        let letters = [bottom, top, bottom + step].map(|tick| texts.round(tick).chars().count());
        let longest = letters.into_iter().max().unwrap_or_default();
        let left = i64::try_from(longest).unwrap_or_default() * LETTER + 8;
        Some(Self {
            lowest,
            highest,
            bottom,
            top,
            step,
            left,
        })
    }

    fn ticks(&self) -> Vec<Decimal> {
        let mut ticks = vec![self.bottom];
        let mut tick = self.bottom;
        while tick < self.top {
            tick += self.step;
            ticks.push(tick.normalize());
        }
        ticks
    }

    fn y(&self, value: Decimal) -> Decimal {
        let room = Decimal::from(HEIGHT - TOP - BOTTOM);
        let y = Decimal::from(TOP) + (self.top - value) * room / (self.top - self.bottom);
        y.round_dp(1).normalize()
    }

    /// SVG path with a step wherever the balance changes.
    fn line(&self, balances: &[(NaiveDate, Decimal)]) -> String {
        let last = i64::try_from(balances.len().saturating_sub(1))
            .unwrap_or(1)
            .max(1);
        let mut path = String::new();
        for (at, (_, balance)) in (0_i64..).zip(balances) {
            let y = self.y(*balance);
            // Writing to a String cannot fail.
            let _ = if at == 0 {
                write!(path, "M{} {y}", self.left)
            } else {
                let x = self.left * 10 + at * (WIDTH - self.left) * 10 / last;
                let x = Decimal::new(x, 1).normalize();
                write!(path, " H{x} V{y}")
            };
        }
        if balances.len() == 1 {
            let _ = write!(path, " H{WIDTH}");
        }
        path
    }
}

/// Distance of the grid lines: 1, 2 or 5 times a power of ten, so that there are three to six
/// lines.
fn step(range: Decimal) -> Decimal {
    let rough = range / Decimal::from(4);
    let cent = Decimal::new(1, 2);
    let mut unit = cent;
    while unit * Decimal::TEN <= rough {
        unit *= Decimal::TEN;
    }
    [1, 2, 5]
        .into_iter()
        .map(|factor| unit * Decimal::from(factor))
        .find(|step| *step >= rough)
        .unwrap_or(unit * Decimal::TEN)
}

#[cfg(test)]
mod tests {
    use super::super::super::texts::ENGLISH;
    use super::*;

    fn balances(values: &[&str]) -> Vec<(NaiveDate, Decimal)> {
        let first: NaiveDate = "2026-11-01".parse().unwrap();
        first
            .iter_days()
            .zip(values)
            .map(|(day, value)| (day, value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn every_balance_lies_within_the_drawing() {
        for values in [
            &["0", "0"][..],
            &["1000.50"],
            &["-5.01", "5.02", "0"],
            &["0.01", "0.02"],
            &["99999999999999.999", "-99999999999999.999"],
        ] {
            let balances = balances(values);
            let scale = Scale::of(&ENGLISH, &balances).unwrap();
            let (top, floor) = (Decimal::from(TOP), Decimal::from(HEIGHT - BOTTOM));
            for (_, balance) in &balances {
                let y = scale.y(*balance);
                assert!((top..=floor).contains(&y), "{values:?}: {y}");
            }
            assert!(
                (2..=6).contains(&scale.ticks().len()),
                "{values:?}: {:?}",
                scale.ticks()
            );
        }
    }

    #[test]
    fn the_line_passes_the_balance_of_each_day() {
        let balances = balances(&["0", "100", "50"]);
        let scale = Scale::of(&ENGLISH, &balances).unwrap();
        assert_eq!(scale.line(&balances), "M47 210 H383.5 V22 H720 V116");
    }

    #[test]
    fn the_chart_has_a_summary_and_a_table() {
        let html = chart(&ENGLISH, Currency::EUR, &balances(&["1", "-2.50", "3"])).unwrap();
        let html = html.into_string();
        for part in [
            "From 1.00\u{a0}EUR on 1 November 2026",
            "lowest \u{2212}2.50",
            "<th scope=\"row\">",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(
            !html.contains("style="),
            "the policy of the page forbids it"
        );
        assert!(chart(&ENGLISH, Currency::EUR, &[]).is_none());
    }
}
