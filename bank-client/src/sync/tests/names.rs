//! Shared, blank and placeholder entry names.

use super::*;

const ALL: [Offers; 3] = [Offers::Nothing, Offers::References, Offers::LastReport];

fn referred(reference: &str, cents: i64, name: &str) -> Transaction {
    Transaction {
        entry_reference: Some(Text::cut(reference)),
        ..payment(cents, name)
    }
}

fn identified(id: &str, cents: i64, name: &str) -> Transaction {
    Transaction {
        transaction_id: Some(Text::cut(id)),
        ..payment(cents, name)
    }
}

/// Entries that banks list, each with its day of booking.
fn cases() -> Vec<Vec<(u64, Transaction)>> {
    vec![
        vec![
            (197, referred("205-BATCH", -55, "Savings")),
            (197, referred("205-BATCH", -100_645, "Landlord")),
            (196, referred("0", -500, "Kiosk")),
            (195, referred("0", -700, "Cafe")),
            (194, referred("e9", 300_000, "Employer")),
        ],
        vec![
            (197, identified("9998", -4500, "Electric")),
            (192, identified("9998", -1200, "Water")),
            (198, identified("52104796", -300, "Cafe")),
        ],
        vec![
            (197, identified(" ", 4000, "Friend")),
            (193, identified(" ", 1500, "Sister")),
            (198, identified("", -300, "Cafe")),
            (198, identified("", -400, "Kiosk")),
        ],
        // Equal in everything.
        vec![
            (198, referred("FEES", -50, "Bank")),
            (198, referred("FEES", -50, "Bank")),
            (198, payment(-50, "Bank")),
            (198, payment(-50, "Bank")),
        ],
    ]
}

#[tokio::test]
async fn entries_that_share_a_name_are_all_kept_and_do_not_change() {
    for offers in ALL {
        for page in [1, 2, 10] {
            for case in cases() {
                let scene = Scene::set(offers, page).await;
                let number = u64::try_from(case.len()).unwrap();
                scene.bank.with(|model| {
                    for (day, transaction) in case {
                        model.post(true, day, transaction);
                    }
                });
                let first = scene.sync().await;
                assert_eq!((first.new, first.changed, first.removed), (number, 0, 0));
                scene.assert_equal().await;
                for _ in 0..2 {
                    let again = scene.sync().await;
                    assert_eq!((again.new, again.changed, again.removed), (0, 0, 0));
                    scene.assert_equal().await;
                }
            }
        }
    }
}

#[tokio::test]
async fn entries_that_share_a_name_are_kept_as_they_come() {
    for offers in ALL {
        for case in cases() {
            let scene = Scene::set(offers, 2).await;
            for (time, (day, transaction)) in case.into_iter().enumerate() {
                scene.bank.with(|model| model.post(true, day, transaction));
                let now = 1000 * i64::try_from(time + 1).unwrap();
                let (report, outcome) = scene.sync_at(now).await;
                outcome.unwrap();
                assert_eq!((report.new, report.changed, report.removed), (1, 0, 0));
                scene.assert_equal().await;
            }
        }
    }
}

#[tokio::test]
async fn a_changed_entry_keeps_its_times_whatever_its_name() {
    for transaction in [
        named("E1", 5),
        referred("E1", 5, "Shop"),
        identified("T1", 5, "Shop"),
        payment(5, "Shop"),
        referred("0", 5, "Shop"),
    ] {
        let scene = Scene::set(Offers::Nothing, 1).await;
        scene.bank.with(|model| {
            model.post(true, 190, transaction);
            model.post(true, 180, named("E2", 5));
        });
        scene.sync_at(1000).await.1.unwrap();
        scene.bank.with(|model| {
            model.entries[0].transaction.additional_information = Some(Text::cut("more"));
        });
        let (report, outcome) = scene.sync_at(2000).await;
        outcome.unwrap();
        assert_eq!((report.new, report.changed, report.removed), (0, 1, 0));
        scene.assert_equal().await;
        let copied = scene.copied().await;
        assert!(
            copied
                .iter()
                .all(|entry| entry.first_seen.timestamp() == 1000)
        );
    }
}

#[tokio::test]
async fn a_new_entry_with_the_name_of_one_before_the_window_is_changed_or_a_twin() {
    let scene = Scene::set(Offers::Nothing, 2).await;
    scene.bank.with(|model| {
        model.post(true, 100, referred("R", -5, "Shop"));
        model.post(true, 199, named("E1", 1));
    });
    scene.sync().await;
    // A twin: the older one is asked for, and is there.
    scene
        .bank
        .with(|model| model.post(true, 195, referred("R", -7, "Shop")));
    let report = scene.sync().await;
    assert_eq!(report.way, Some(Way::Dates { from: day(100) }));
    assert_eq!((report.new, report.changed, report.removed), (1, 0, 0));
    scene.assert_equal().await;
    // By now the name is known to be shared, and asks no more questions.
    scene
        .bank
        .with(|model| model.post(true, 196, referred("R", -8, "Shop")));
    let report = scene.sync().await;
    assert_eq!(report.way, Some(Way::Dates { from: day(170) }));
    scene.assert_equal().await;

    // Changed: it is booked under another day by now.
    let scene = Scene::set(Offers::Nothing, 2).await;
    scene
        .bank
        .with(|model| model.post(true, 120, referred("R", -5, "Shop")));
    scene.sync_at(1000).await.1.unwrap();
    scene.bank.with(|model| {
        model.entries.clear();
        model.post(true, 195, referred("R", -5, "Shop"));
    });
    let (report, outcome) = scene.sync_at(2000).await;
    outcome.unwrap();
    assert_eq!((report.new, report.changed, report.removed), (0, 1, 0));
    scene.assert_equal().await;
    assert_eq!(scene.copied().await[0].first_seen.timestamp(), 1000);
}

#[tokio::test]
async fn a_name_that_a_delta_report_repeats_is_looked_up_by_days_and_deltas_go_on() {
    for (offers, delta) in [
        (Offers::References, "AfterEntry"),
        (Offers::LastReport, "AfterLastReport"),
    ] {
        let scene = Scene::set(offers, 2).await;
        scene.bank.with(|model| {
            model.post(true, 120, referred("R", -5, "Shop"));
            model.post(true, 190, named("E1", 1));
        });
        scene.sync_at(1000).await.1.unwrap();
        // What was told on a later page, booked late under a day long ago, is not lost over the
        // question.
        scene.bank.with(|model| {
            model.post(true, 110, named("LATE", 1));
            model.post(true, 195, named("E2", 1));
            model.post(true, 196, referred("R", -6, "Shop"));
            model.post(true, 195, named("E3", 1));
        });
        let (report, outcome) = scene.sync_at(2000).await;
        outcome.unwrap();
        assert_eq!(
            report.way,
            Some(Way::Dates { from: day(120) }),
            "{offers:?}"
        );
        assert_eq!((report.new, report.changed, report.removed), (4, 0, 0));
        scene.assert_equal().await;
        let (report, outcome) = scene.sync_at(3000).await;
        outcome.unwrap();
        let way = format!("{:?}", report.way);
        assert!(way.contains(delta), "{way}");
        // The bank has changed an entry, and tells of it.
        scene.bank.with(|model| {
            model
                .entries
                .retain(|entry| entry.transaction.entry_reference != Some(Text::cut("E2")));
            model.post(true, 195, named("E2", 9));
        });
        let (report, outcome) = scene.sync_at(4000).await;
        outcome.unwrap();
        assert_eq!((report.new, report.changed, report.removed), (0, 1, 0));
        scene.assert_equal().await;
    }
}

#[tokio::test]
async fn a_walk_that_breaks_off_shows_no_entry_in_two_forms() {
    let scene = Scene::set(Offers::References, 1).await;
    scene.bank.with(|model| {
        model.post(true, 190, named("E1", 5));
        model.post(true, 191, named("E2", 5));
        model.post(false, 191, identified("P1", -5, "Shop"));
    });
    let mut scene = scene;
    scene.options.delta = None;
    scene.sync_at(1000).await.1.unwrap();
    scene.bank.with(|model| {
        model.entries[1].transaction.additional_information = Some(Text::cut("more"));
        model.entries[2].transaction.additional_information = Some(Text::cut("more"));
        model.cut_after = Some(2);
    });
    assert!(scene.sync_at(2000).await.1.is_err());
    assert_eq!(scene.copied().await.len(), 3);
    // Not even if the next one would rather ask for a delta.
    scene.options.delta = Some(Delta::EntryReference);
    let (report, outcome) = scene.sync_at(3000).await;
    outcome.unwrap();
    assert_eq!((report.new, report.changed, report.removed), (0, 2, 0));
    scene.assert_equal().await;
    let copied = scene.copied().await;
    assert!(
        copied
            .iter()
            .all(|entry| entry.first_seen.timestamp() == 1000)
    );
}

#[tokio::test]
async fn a_delta_starts_after_the_newest_entry_whose_name_is_its_own() {
    let reference = |offers, oldest_first: bool, entries: Vec<(u64, Transaction)>| async move {
        let scene = Scene::set(offers, 10).await;
        scene.bank.with(|model| {
            model.oldest_first = oldest_first;
            for (day, transaction) in entries {
                model.post(true, day, transaction);
            }
        });
        scene.sync().await;
        scene
            .copy
            .sync_state(scene.account)
            .await
            .unwrap()
            .reference
    };
    let entries = || {
        vec![
            (190, named("E1", 1)),
            (191, named("E2", 1)),
            (191, named("E3", 1)),
        ]
    };
    for oldest_first in [false, true] {
        let found = reference(Offers::References, oldest_first, entries()).await;
        assert_eq!(found.as_deref(), Some("E3"), "{oldest_first}");
        let mut shared = entries();
        shared.extend([
            (192, referred("0", 1, "Shop")),
            (193, named("R", 1)),
            (194, named("R", 2)),
            (195, payment(1, "Shop")),
        ]);
        let found = reference(Offers::References, oldest_first, shared).await;
        assert_eq!(found.as_deref(), Some("E3"), "{oldest_first}");
    }
    let none = vec![(190, payment(1, "Shop")), (190, referred(" ", 1, "Shop"))];
    assert_eq!(reference(Offers::References, false, none).await, None);
}

#[tokio::test]
async fn a_pending_entry_with_a_shared_id_is_not_surely_booked() {
    // The list of pending entries cannot be had: only what is sure is settled.
    let scene = Scene::set(Offers::References, 5).await;
    scene.bank.with(|model| {
        model.post(true, 190, named("E1", 1));
        model.post(false, 198, identified("9998", -1200, "Water"));
        model.post(false, 198, identified("9998", -4500, "Electric"));
    });
    scene.sync_at(1000).await.1.unwrap();
    scene.bank.with(|model| {
        model.entries.pop();
        let booked = Transaction {
            entry_reference: Some(Text::cut("E2")),
            ..identified("9998", -4500, "Electric")
        };
        model.post(true, 199, booked);
    });
    let (report, outcome) = scene.sync_at(2000).await;
    outcome.unwrap();
    assert_eq!((report.matched, report.removed), (1, 0));
    scene.assert_equal().await;
    let copied = scene.copied().await;
    let booked = copied.iter().find(|entry| entry.booked).unwrap();
    assert_eq!(
        booked.pending_since.map(|time| time.timestamp()),
        Some(1000)
    );
}

#[tokio::test]
async fn a_pending_entry_is_not_booked_for_an_id_that_another_one_shares() {
    let scene = Scene::set(Offers::Nothing, 5).await;
    scene.bank.with(|model| {
        model.post(false, 165, identified("9998", -1200, "Water"));
    });
    scene.sync_at(1000).await.1.unwrap();
    // The list of days does not reach back to it.
    scene.bank.with(|model| {
        model.post(true, 199, identified("9998", -4500, "Electric"));
    });
    let (report, outcome) = scene.sync_at(2000).await;
    outcome.unwrap();
    assert_eq!((report.matched, report.removed), (0, 0));
    scene.assert_equal().await;
}
