//! Incomplete data: gaps, missing lists, unreadable entries, missing days.

use super::*;

impl Scene {
    async fn account(&self) -> (Option<i64>, Option<NaiveDate>) {
        let row: (Option<i64>, Option<String>) =
            sqlx::query_as("SELECT synced, since FROM account WHERE id = 1")
                .fetch_one(&self.copy.pool)
                .await
                .unwrap();
        (row.0, row.1.map(|day| day.parse().unwrap()))
    }
}

fn undated(value_day: Option<u64>, transaction: Transaction) -> Transaction {
    Transaction {
        value_date: value_day.map(day),
        ..transaction
    }
}

#[tokio::test]
async fn a_copy_is_whole_from_the_end_of_its_last_gap() {
    for refusal in [Some((403, MessageCode::ConsentInvalid)), None] {
        let scene = Scene::set(Offers::Nothing, 3).await;
        scene.bank.with(|model| {
            model.refusal = refusal.clone();
            for number in 0..10 {
                model.post(true, 100 + 10 * number, named(&format!("E{number}"), 1));
            }
        });
        scene.sync_at(1000).await.1.unwrap();
        // Days before the 90 that each bank shows count as far as the first entry of the list.
        assert_eq!(scene.account().await, (Some(1000), Some(day(100))));
        let before = scene.copied().await.len();
        // 200 days later, the bank shows 90.
        scene.bank.with(|model| {
            model.today = 400;
            model.history = 90;
            model.post(true, 350, named("LATER", 1));
        });
        let (report, outcome) = scene.sync_at(2000).await;
        outcome.unwrap();
        assert_eq!((report.new, report.removed), (1, 0));
        let (synced, since) = scene.account().await;
        assert_eq!(synced, Some(2000));
        assert!(since > Some(day(305)), "{since:?}");
        assert_eq!(
            scene.copied().await.len(),
            before + 1,
            "and nothing is lost"
        );
        // A run in time joins.
        scene.bank.with(|model| model.today = 420);
        scene.sync_at(3000).await.1.unwrap();
        assert_eq!(scene.account().await, (Some(3000), since));
    }
}

#[tokio::test]
async fn nothing_is_removed_where_an_entry_could_not_be_read() {
    for offers in [Offers::Nothing, Offers::References, Offers::LastReport] {
        let scene = Scene::set(offers, 10).await;
        scene.bank.with(|model| {
            model.post(true, 195, named("E1", 1));
            model.post(true, 196, named("E2", 1));
            model.post(false, 199, payment(-3, "Cafe"));
        });
        scene.sync_at(1000).await.1.unwrap();
        let (_, since) = scene.account().await;
        scene.bank.with(|model| {
            model.entries.remove(2);
            model.entries.remove(0);
            model.left_out = 1;
        });
        let (report, outcome) = scene.sync_at(2000).await;
        outcome.unwrap();
        assert_eq!((report.left_out, report.removed), (1, 0), "{offers:?}");
        assert!(!report.is_complete());
        assert_eq!(scene.copied().await.len(), 3);
        assert_eq!(scene.account().await, (Some(1000), None), "{offers:?}");
        // The next run reads all, and says from when on it knows.
        scene.bank.with(|model| model.left_out = 0);
        let (report, outcome) = scene.sync_at(3000).await;
        outcome.unwrap();
        assert!(matches!(report.way, Some(Way::Dates { .. })));
        assert!(report.is_complete());
        scene.assert_equal().await;
        let (synced, now) = scene.account().await;
        assert_eq!(synced, Some(3000));
        assert!(now > since && now <= Some(day(TODAY)), "{now:?}");
    }
}

#[tokio::test]
async fn an_answer_that_lists_nothing_removes_nothing() {
    for tells in [Tells::Nothing, Tells::Unknown] {
        let scene = Scene::set(Offers::Nothing, 10).await;
        scene.bank.with(|model| model.tells = tells);
        let (report, outcome) = scene.sync_at(1000).await;
        outcome.unwrap();
        assert!(
            report.unlisted && report.is_complete(),
            "none, and none known"
        );
        scene.bank.with(|model| {
            model.tells = Tells::Lists;
            model.post(true, 195, named("E1", 1));
            model.post(false, 199, payment(-3, "Cafe"));
        });
        let (report, outcome) = scene.sync_at(2000).await;
        outcome.unwrap();
        assert!(!report.unlisted);
        scene.bank.with(|model| {
            model.tells = tells;
            model.entries.clear();
        });
        let (_, outcome) = scene.sync_at(3000).await;
        assert!(matches!(outcome, Err(SyncError::Bank(_))), "{outcome:?}");
        assert_eq!(scene.copied().await.len(), 2);
        assert_eq!(scene.account().await.0, Some(2000));
    }
}

#[tokio::test]
async fn a_list_of_pending_entries_that_is_left_out_is_asked_for() {
    let scene = Scene::set(Offers::Nothing, 10).await;
    scene.bank.with(|model| {
        model.tells = Tells::NoEmptyPending;
        model.post(true, 195, named("E1", 1));
        model.post(false, 199, payment(-3, "Cafe"));
    });
    scene.sync().await;
    // From now on the list of days alone would tell, if it had pending ones.
    scene.sync().await;
    scene.bank.with(|model| {
        model.asked.clear();
        model.entries.pop();
    });
    let report = scene.sync().await;
    assert_eq!(report.removed, 1);
    scene.assert_equal().await;
    let asked = scene.bank.with(|model| model.asked.clone());
    let asked: Vec<BookingStatus> = asked.iter().map(|filter| filter.booking_status).collect();
    assert_eq!(asked, [BookingStatus::Both, BookingStatus::Pending]);
}

#[tokio::test]
async fn a_delta_report_of_booked_entries_alone_does_not_say_that_none_is_pending() {
    let scene = Scene::set(Offers::References, 10).await;
    scene.bank.with(|model| {
        model.tells = Tells::BookedDeltas;
        model.post(true, 195, named("E1", 1));
    });
    scene.sync().await;
    scene
        .bank
        .with(|model| model.post(false, 199, payment(-3, "Cafe")));
    let report = scene.sync().await;
    assert!(matches!(report.way, Some(Way::AfterEntry { .. })));
    scene.assert_equal().await;
}

#[tokio::test]
async fn that_there_is_no_list_of_pending_entries_says_that_there_are_none() {
    let scene = Scene::set(Offers::References, 10).await;
    scene.bank.with(|model| {
        model.tells = Tells::NoPendingUnknown;
        model.post(true, 195, named("E1", 1));
        model.post(false, 199, payment(-3, "Cafe"));
    });
    scene.sync().await;
    scene.bank.with(|model| model.entries.pop());
    let report = scene.sync().await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.removed, 1);
    scene.assert_equal().await;
}

#[tokio::test]
async fn a_list_that_does_not_reach_the_days_before_the_last_run_leaves_a_gap() {
    let scene = Scene::set(Offers::Nothing, 10).await;
    scene
        .bank
        .with(|model| model.post(true, 150, named("E1", 1)));
    scene.sync_at(1000).await.1.unwrap();
    // 85 days later, the bank shows 90; meanwhile something was booked on a day before these.
    scene.bank.with(|model| {
        model.today = 285;
        model.history = 90;
        model.post(true, 190, named("E2", 1));
    });
    scene.sync_at(2000).await.1.unwrap();
    // Its 90 days may begin up to two days later than ours.
    assert_eq!(scene.account().await, (Some(2000), Some(day(197))));
}

/// One that was booked late, under an old day, does not say that the days since then are listed.
#[tokio::test]
async fn an_old_entry_that_is_new_does_not_prove_a_history_that_is_cut() {
    let scene = Scene::set(Offers::Nothing, 10).await;
    scene
        .bank
        .with(|model| model.post(true, 195, named("E195", 1)));
    scene.sync_at(1000).await.1.unwrap();
    // 200 days later, it shows 90.
    scene.bank.with(|model| {
        model.today = 400;
        model.entries.clear();
        model.post(true, 190, named("E190", 1));
        model.post(true, 390, named("E390", 1));
    });
    let (report, outcome) = scene.sync_at(2000).await;
    outcome.unwrap();
    assert_eq!((report.new, report.removed), (2, 0));
    assert_eq!(scene.account().await.1, Some(day(312)));
}

/// A bank that shows some months, and does not refuse more.
#[tokio::test]
async fn a_history_that_is_cut_without_a_word_removes_nothing() {
    let scene = Scene::set(Offers::Nothing, 10).await;
    scene.bank.with(|model| {
        for number in [50, 100, 150] {
            model.post(true, number, named(&format!("E{number}"), 1));
        }
    });
    scene.sync_at(1000).await.1.unwrap();
    let before = scene.copied().await.len();
    // 200 days later, it shows 180: what is older is not in the list, which has entries older than
    // 90 days all the same.
    scene.bank.with(|model| {
        model.today = 400;
        model.entries.retain(|entry| entry.day >= 220);
        model.post(true, 230, named("E230", 1));
        model.post(true, 390, named("E390", 1));
    });
    let (report, outcome) = scene.sync_at(2000).await;
    outcome.unwrap();
    assert_eq!((report.new, report.removed), (2, 0));
    assert_eq!(scene.copied().await.len(), before + 2);
    assert_eq!(scene.account().await, (Some(2000), Some(day(230))));
}

#[tokio::test]
async fn of_equal_entries_without_a_day_none_is_lost_while_one_is_older_than_the_list() {
    let scene = Scene::set(Offers::Nothing, 10).await;
    scene.bank.with(|model| {
        model.post_undated(100, payment(-3, "Cafe"));
        model.post_undated(190, payment(-3, "Cafe"));
    });
    for now in [1000, 2000, 3000, 4000] {
        let (report, outcome) = scene.sync_at(now).await;
        outcome.unwrap();
        assert_eq!(report.removed, 0, "{now}");
        scene.assert_equal().await;
    }
}

#[tokio::test]
async fn a_booked_entry_without_its_day_is_kept_once_and_goes() {
    for offers in [Offers::Nothing, Offers::References, Offers::LastReport] {
        for value_day in [None, Some(195), Some(190)] {
            for transaction in [named("U", 5), payment(5, "Shop")] {
                let mut scene = Scene::set(offers, 2).await;
                // By days alone, after a first read in the bank's own way.
                scene.bank.with(|model| {
                    model.post(true, 180, named("E1", 1));
                    model.post_undated(195, undated(value_day, transaction.clone()));
                    model.post_undated(90, undated(Some(90), named("OLD", 5)));
                });
                scene.sync().await;
                scene.assert_equal().await;
                scene.options.delta = None;
                for words in ["one", "two"] {
                    scene.bank.with(|model| {
                        let changed = &mut model.entries[1].transaction;
                        changed.additional_information = Some(Text::cut(words));
                    });
                    let report = scene.sync().await;
                    scene.assert_equal().await;
                    assert_eq!(report.new + report.changed, 1, "{value_day:?}");
                    // It gets a day older from run to run.
                    scene.bank.with(|model| model.today += 1);
                }
                scene.bank.with(|model| model.entries.remove(1));
                let report = scene.sync().await;
                assert_eq!(report.removed, 1);
                scene.assert_equal().await;
            }
        }
    }
}

/// Older than 90 days, it may be gone, or not listed any more: the copy keeps it, and does not
/// claim its day for an entry that was booked late under an older one.
#[tokio::test]
async fn an_old_entry_with_a_value_date_alone_that_is_not_listed_is_before_what_is_claimed() {
    let mut scene = Scene::set(Offers::Nothing, 10).await;
    scene.options.overlap_days = 60;
    scene.bank.with(|model| {
        model.post_undated(190, undated(Some(190), payment(-3, "Cafe")));
    });
    scene.sync_at(1000).await.1.unwrap();
    scene.bank.with(|model| {
        model.today = 309;
        model.entries.pop();
        model.post(true, 150, named("LATE", 1));
    });
    let (report, outcome) = scene.sync_at(2000).await;
    outcome.unwrap();
    assert_eq!((report.new, report.removed), (1, 0));
    assert_eq!(scene.account().await.1, Some(day(221)));
}

#[tokio::test]
async fn a_booked_entry_without_its_day_stays_when_it_is_older_than_the_list() {
    let scene = Scene::set(Offers::Nothing, 2).await;
    scene.bank.with(|model| {
        for number in 0..20 {
            let value_day = (number % 2 == 0).then_some(182 + number);
            model.post_undated(
                180 + number,
                undated(value_day, named(&format!("U{number}"), 5)),
            );
        }
    });
    let mut lists = 0;
    for today in 0..60 {
        scene.bank.with(|model| {
            model.today = TODAY + today;
            model.asked.clear();
        });
        scene.sync().await;
        scene.assert_equal().await;
        lists += scene.bank.with(|model| model.asked.len());
    }
    assert!(
        lists <= 60 + 20 + 1,
        "{lists}: one more for each that leaves the list"
    );
}

#[tokio::test]
async fn the_order_within_a_day_is_that_of_arrival() {
    for oldest_first in [false, true] {
        for page in [1, 2, 3, 50] {
            let scene = Scene::set(Offers::References, page).await;
            scene.bank.with(|model| {
                model.oldest_first = oldest_first;
                for number in 0..12 {
                    model.post(true, 190 + number / 4, named(&format!("E{number:02}"), 1));
                }
            });
            scene.sync_at(1000).await.1.unwrap();
            // What comes later is of one day, and tells nothing of the way in which it goes.
            scene.bank.with(|model| {
                for number in 12..15 {
                    model.post(true, 192, named(&format!("E{number}"), 1));
                }
            });
            scene.sync_at(2000).await.1.unwrap();
            let names: Vec<String> = scene.copied().await.iter().map(name_of).collect();
            let right: Vec<String> = (0..15)
                .rev()
                .map(|number| format!("E{number:02}"))
                .collect();
            assert_eq!(names, right, "{oldest_first} {page}");
        }
    }
}

fn name_of(entry: &CopiedEntry) -> String {
    let CopiedTransaction::Payment(transaction) = &entry.transaction else {
        panic!("a card's")
    };
    let reference = transaction.entry_reference.as_ref();
    reference.map(ToString::to_string).unwrap_or_default()
}

#[tokio::test]
async fn that_there_are_no_deltas_is_learnt_when_days_are_given_instead() {
    let mut scene = Scene::set(Offers::Nothing, 10).await;
    scene.options.delta = Some(Delta::EntryReference);
    scene
        .bank
        .with(|model| model.post(true, 195, named("E1", 1)));
    scene.sync().await;
    // The same refusal for whatever is asked says nothing of deltas.
    scene.bank.with(|model| {
        model.history = 0;
        model.refusal = Some((400, MessageCode::FormatError));
    });
    assert!(scene.sync_at(2).await.1.is_err());
    assert_eq!(
        scene.copy.sync_state(scene.account).await.unwrap().refused,
        None
    );
    scene.bank.with(|model| model.history = 1000);
    scene.sync().await;
    let known = scene.copy.sync_state(scene.account).await.unwrap();
    assert_eq!(known.refused, Some(day(TODAY)));
}
