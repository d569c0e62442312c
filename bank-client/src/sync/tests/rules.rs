//! The rules by themselves.

use super::*;

#[test]
fn the_way_follows_from_what_is_known_and_offered() {
    let wishes = |delta| Wishes {
        delta,
        history_days: 730,
        overlap_days: 14,
        page_size: None,
    };
    let today = day(TODAY);
    let known = Known {
        complete: Some(day(195)),
        reference: Some("E1".to_owned()),
        in_flight: false,
        refused: None,
    };
    let dates = Way::Dates { from: day(181) };
    let after = Way::AfterEntry {
        reference: "E1".to_owned(),
    };
    let (by_reference, by_report) = (Some(Delta::EntryReference), Some(Delta::DeltaList));
    assert_eq!(plan(&known, &wishes(None), today), dates);
    assert_eq!(plan(&known, &wishes(by_reference), today), after);
    assert_eq!(
        plan(&known, &wishes(by_report), today),
        Way::AfterLastReport
    );
    let lost = Known {
        in_flight: true,
        ..known.clone()
    };
    assert_eq!(plan(&lost, &wishes(by_report), today), dates);
    let without = Known {
        reference: None,
        ..known.clone()
    };
    assert_eq!(plan(&without, &wishes(by_reference), today), dates);
    for (refused, way) in [(171, &dates), (170, &after), (200, &dates)] {
        let refused = Known {
            refused: Some(day(refused)),
            ..known.clone()
        };
        assert_eq!(&plan(&refused, &wishes(by_reference), today), way);
    }
    let first = plan(&Known::default(), &wishes(by_report), today);
    assert_eq!(
        first,
        Way::Everything {
            from: today - Days::new(730)
        }
    );

    let next = |way: &Way, error: &Error, pages| {
        instead(way, error, pages, &known, &wishes(by_reference), today)
    };
    let period = refused(400, MessageCode::PeriodInvalid);
    let unknown = refused(400, MessageCode::ResourceUnknown);
    let unsupported = refused(400, MessageCode::ParameterNotSupported);
    let shorter = |days| {
        Some((
            Way::Everything {
                from: today - Days::new(days),
            },
            Lesson::Nothing,
        ))
    };
    assert_eq!(next(&first, &period, 3), shorter(90));
    assert_eq!(next(&shorter(90).unwrap().0, &period, 0), shorter(89));
    assert_eq!(next(&shorter(89).unwrap().0, &period, 0), None);
    assert_eq!(
        next(&after, &unknown, 0),
        Some((dates.clone(), Lesson::ForgetReference))
    );
    assert_eq!(
        next(&after, &unsupported, 0),
        Some((dates.clone(), Lesson::NoDeltas))
    );
    assert_eq!(
        next(&after, &unsupported, 1),
        Some((dates.clone(), Lesson::Nothing))
    );
    assert_eq!(
        next(&Way::AfterLastReport, &unsupported, 0),
        Some((dates.clone(), Lesson::NoDeltas))
    );
    for other in [
        refused(401, MessageCode::ConsentExpired),
        refused(429, MessageCode::AccessExceeded),
        broken(),
    ] {
        for way in [&first, &dates, &after, &Way::AfterLastReport] {
            assert_eq!(next(way, &other, 0), None, "{way:?} {other}");
        }
    }
}

#[test]
fn a_delta_starts_after_the_newest_of_the_first_page() {
    let row = |id: &str, number| {
        Row::payment(Transaction {
            booking_date: Some(day(number)),
            ..named(id, 1)
        })
        .unwrap()
    };
    let page = [row("A", 9), row("B", 9), row("C", 8)];
    assert_eq!(anchor(&page), Some("A"), "the newest first");
    let page = [row("C", 8), row("B", 9), row("A", 9)];
    assert_eq!(anchor(&page), Some("A"), "the oldest first");
    let page = [row("C", 8), row("A", 9), row("B", 8)];
    assert_eq!(anchor(&page), Some("A"), "in the order of arrival");
    let nameless = Row::payment(payment(1, "Shop")).unwrap();
    assert_eq!(anchor(&[nameless]), None);
    assert_eq!(anchor(&[]), None);
}

#[test]
fn an_entry_is_itself_whatever_else_is_said_of_it() {
    let digester = Digester::new(&[1; 32]);
    let identity = |transaction: Transaction, number| {
        Row::payment(transaction)
            .unwrap()
            .identity(&digester, number)
    };
    let other_words = Transaction {
        transaction_id: Some(Text::cut("T9")),
        ..named("E1", 2)
    };
    assert_eq!(
        identity(named("E1", 1), 0),
        identity(other_words.clone(), 0)
    );
    let without = |transaction: Transaction| Transaction {
        entry_reference: None,
        ..transaction
    };
    assert_ne!(
        identity(without(named("E1", 1)), 0),
        identity(named("E1", 1), 0)
    );
    assert_eq!(
        identity(without(named("E1", 1)), 0),
        identity(without(named("E1", 2)), 0)
    );
    assert_eq!(identity(payment(1, "A"), 3), identity(payment(1, "A"), 3));
    assert_ne!(identity(payment(1, "A"), 3), identity(payment(1, "A"), 4));
    assert_ne!(identity(payment(1, "A"), 0), identity(payment(1, "B"), 0));
    let elsewhere = Digester::new(&[2; 32]);
    let row = Row::payment(payment(1, "A")).unwrap();
    assert_ne!(row.identity(&digester, 0), row.identity(&elsewhere, 0));
}
