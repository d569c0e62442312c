//! Unit tests of the planning and matching rules.

use super::*;

#[test]
fn the_way_follows_from_what_is_known_and_offered() {
    let options = |delta| SyncOptions {
        delta,
        history_days: 730,
        overlap_days: 14,
        page_size: None,
    };
    let today = day(TODAY);
    let known = AccountSyncState {
        complete: Some(day(195)),
        reference: Some("E1".to_owned()),
        in_flight: false,
        refused: None,
        since: Some(day(100)),
        unsettled: None,
    };
    let dates = Way::Dates { from: day(181) };
    let after = Way::AfterEntry {
        reference: "E1".to_owned(),
    };
    let (by_reference, by_report) = (Some(Delta::EntryReference), Some(Delta::DeltaList));
    assert_eq!(plan(&known, &options(None), today), dates);
    assert_eq!(plan(&known, &options(by_reference), today), after);
    assert_eq!(
        plan(&known, &options(by_report), today),
        Way::AfterLastReport
    );
    let lost = AccountSyncState {
        in_flight: true,
        ..known.clone()
    };
    assert_eq!(plan(&lost, &options(by_report), today), dates);
    let without = AccountSyncState {
        reference: None,
        ..known.clone()
    };
    assert_eq!(plan(&without, &options(by_reference), today), dates);
    for (refused, way) in [(171, &dates), (170, &after), (200, &dates)] {
        let refused = AccountSyncState {
            refused: Some(day(refused)),
            ..known.clone()
        };
        assert_eq!(&plan(&refused, &options(by_reference), today), way);
    }
    let first = plan(&AccountSyncState::default(), &options(by_report), today);
    assert_eq!(
        first,
        Way::Everything {
            from: today - Days::new(730)
        }
    );

    let next = |way: &Way, error: &Error, pages| {
        next_way(way, error, pages, &known, &options(by_reference), today)
    };
    let period = refused(400, MessageCode::PeriodInvalid);
    let unknown = refused(400, MessageCode::ResourceUnknown);
    let unsupported = refused(400, MessageCode::ParameterNotSupported);
    let shorter = |days| {
        Some((
            Way::Everything {
                from: today - Days::new(days),
            },
            Finding::Nothing,
        ))
    };
    assert_eq!(next(&first, &period, 3), shorter(90));
    assert_eq!(next(&shorter(90).unwrap().0, &period, 0), shorter(89));
    // The day of the bank may be one ahead of ours.
    assert_eq!(next(&shorter(89).unwrap().0, &period, 0), shorter(88));
    assert_eq!(next(&shorter(88).unwrap().0, &period, 0), None);
    assert_eq!(
        next(&after, &unknown, 0),
        Some((dates.clone(), Finding::ForgetReference))
    );
    assert_eq!(
        next(&after, &unsupported, 0),
        Some((dates.clone(), Finding::NoDeltas))
    );
    assert_eq!(
        next(&after, &unsupported, 1),
        Some((dates.clone(), Finding::Nothing))
    );
    assert_eq!(
        next(&Way::AfterLastReport, &unsupported, 0),
        Some((dates.clone(), Finding::NoDeltas))
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
fn what_only_days_settle_is_settled_before_deltas_go_on() {
    let options = SyncOptions {
        delta: Some(Delta::DeltaList),
        history_days: 730,
        overlap_days: 14,
        page_size: None,
    };
    let today = day(TODAY);
    let known = AccountSyncState {
        complete: Some(day(195)),
        since: Some(day(100)),
        ..AccountSyncState::default()
    };
    assert_eq!(plan(&known, &options, today), Way::AfterLastReport);
    let unsettled = AccountSyncState {
        unsettled: Some(day(150)),
        ..known.clone()
    };
    assert_eq!(
        plan(&unsettled, &options, today),
        Way::Dates { from: day(150) }
    );
    let not_whole = AccountSyncState {
        since: None,
        ..known
    };
    assert_eq!(
        plan(&not_whole, &options, today),
        Way::Dates { from: day(181) }
    );
}

#[test]
fn a_refusal_leads_to_another_list_where_it_may_be_about_the_list() {
    let today = day(TODAY);
    let options = SyncOptions {
        delta: None,
        history_days: 730,
        overlap_days: 14,
        page_size: None,
    };
    let from = today - Days::new(730);
    let shorter = |error: &Error| {
        let way = Way::Everything { from };
        next_way(
            &way,
            error,
            0,
            &AccountSyncState::default(),
            &options,
            today,
        )
        .is_some()
    };
    let other = |code: &str| MessageCode::Other(Text::cut(code));
    for (status, code) in [
        (400, MessageCode::PeriodInvalid),
        (401, MessageCode::PeriodInvalid),
        (409, MessageCode::PeriodInvalid),
        (400, MessageCode::FormatError),
        (401, MessageCode::ConsentInvalid),
        (403, MessageCode::ConsentInvalid),
        (403, MessageCode::ServiceInvalid),
        (401, other("SCA_REQUIRED")),
        (422, other("HISTORY_TOO_LONG")),
    ] {
        let error = refused(status, code);
        assert!(shorter(&error), "{error}");
    }
    for (status, code) in [
        (401, MessageCode::ConsentExpired),
        (400, MessageCode::ConsentUnknown),
        (403, MessageCode::ConsentUnknown),
        (401, MessageCode::CertificateExpired),
        (401, MessageCode::RoleInvalid),
        (401, MessageCode::TokenExpired),
        (403, MessageCode::ServiceBlocked),
        (429, MessageCode::AccessExceeded),
        (404, other("NOT_HERE")),
        (500, MessageCode::InternalServerError),
    ] {
        let error = refused(status, code);
        assert!(!shorter(&error), "{error}");
    }
    for (status, right) in [
        (400, true),
        (401, true),
        (403, true),
        (422, true),
        (429, false),
    ] {
        let error = Error {
            bank: "Bank".to_owned(),
            kind: ErrorKind::Status {
                status,
                request_id: Uuid::nil(),
                retry_after: None,
            },
        };
        assert_eq!(shorter(&error), right, "{error}");
    }
}

#[test]
fn placeholders_are_ignored() {
    let digester = Digester::new(&[1; 32]);
    let blank = Row::payment(Transaction {
        end_to_end_id: Some(Text::cut("NOT PROVIDED")),
        ..named(" ", -5)
    })
    .unwrap();
    assert_eq!(
        (blank.delta_reference(), blank.has_reference_or_id()),
        (None, false)
    );
    assert_eq!(
        blank.pending_keys(&digester).len(),
        1,
        "amount and counterparty"
    );
    let anonymous = Row::payment(Transaction {
        creditor_name: Some(Text::cut("NOTPROVIDED")),
        ..named(" ", -5)
    })
    .unwrap();
    assert!(anonymous.pending_keys(&digester).is_empty());
}

#[test]
fn the_name_digest_survives_changes_of_the_content() {
    let digester = Digester::new(&[1; 32]);
    let row = |transaction: Transaction| Row::payment(transaction).unwrap();
    let name = |transaction: Transaction| row(transaction).name_digest(&digester);
    let content = |transaction: Transaction| row(transaction).content_digest(&digester);
    let other_words = Transaction {
        transaction_id: Some(Text::cut("T9")),
        ..named("E1", 2)
    };
    assert_eq!(name(named("E1", 1)), name(other_words));
    let without = |transaction: Transaction| Transaction {
        entry_reference: None,
        ..transaction
    };
    assert_ne!(name(without(named("E1", 1))), name(named("E1", 1)));
    assert_eq!(name(without(named("E1", 1))), name(without(named("E1", 2))));
    // Without a reference and an id, the name digest is that of amount and dates.
    assert_eq!(name(payment(1, "A")), name(payment(1, "B")));
    assert_ne!(name(payment(1, "A")), name(payment(2, "A")));
    assert_eq!(content(payment(1, "A")), content(payment(1, "A")));
    assert_ne!(content(payment(1, "A")), content(payment(1, "B")));
    assert_ne!(content(named("E1", 1)), content(named("E2", 1)));
    let other_digester = Digester::new(&[2; 32]);
    let row = row(payment(1, "A"));
    assert_ne!(
        row.content_digest(&digester),
        row.content_digest(&other_digester)
    );
}
