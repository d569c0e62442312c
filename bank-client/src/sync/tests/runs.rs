//! Single runs against the model bank, one promise each.

use super::*;

#[tokio::test]
async fn the_first_run_reads_everything_and_later_ones_what_is_new() {
    for (offers, way) in [
        (Offers::Nothing, "Dates"),
        (Offers::References, "AfterEntry"),
        (Offers::LastReport, "AfterLastReport"),
    ] {
        let scene = Scene::set(offers, 3).await;
        scene.bank.with(|model| {
            for number in 0..10 {
                model.post(true, 150 + number, named(&format!("E{number}"), 5));
            }
            model.post(false, 199, payment(-7, "Cafe"));
        });
        let first = scene.sync().await;
        assert_eq!(
            first.way,
            Some(Way::Everything {
                from: day(TODAY) - Days::new(730)
            })
        );
        assert_eq!((first.new, first.pages), (11, 4));
        scene.assert_equal().await;
        // A bank that remembers what it has reported reports now what was listed by days: that
        // there are twins of all of it is not so, as the days say once more.
        let again = scene.sync().await;
        assert_eq!((again.new, again.changed, again.removed), (0, 0, 0));
        // Booked late, under an earlier day.
        scene
            .bank
            .with(|model| model.post(true, 180, named("LATE", 6)));
        let second = scene.sync().await;
        assert!(
            format!("{:?}", second.way).contains(way),
            "{:?}",
            second.way
        );
        assert_eq!((second.new, second.removed, second.matched), (1, 0, 0));
        scene.assert_equal().await;
        let third = scene.sync().await;
        assert_eq!((third.new, third.changed, third.removed), (0, 0, 0));
        scene.assert_equal().await;
    }
}

#[tokio::test]
async fn a_bank_that_refuses_is_asked_in_another_way_and_not_so_again() {
    let scene = Scene::set(Offers::Nothing, 10).await;
    let mut scene = scene;
    scene.options.delta = Some(Delta::EntryReference);
    scene.bank.with(|model| {
        model.history = 89;
        model.post(true, 190, named("E1", 5));
    });
    let first = scene.sync().await;
    assert_eq!(
        first.way,
        Some(Way::Everything {
            from: day(TODAY) - Days::new(89)
        })
    );
    for asked in [2, 1] {
        scene.bank.with(|model| model.asked.clear());
        let next = scene.sync().await;
        assert!(
            matches!(next.way, Some(Way::Dates { .. })),
            "{:?}",
            next.way
        );
        assert_eq!(scene.bank.with(|model| model.asked.len()), asked);
    }
    // A bank that has deltas, and does not know the entry any more.
    let scene = Scene::set(Offers::References, 10).await;
    scene.bank.with(|model| {
        model.post(true, 190, named("E1", 5));
        model.post(true, 195, named("E2", 5));
    });
    scene.sync().await;
    scene
        .bank
        .with(|model| model.entries.retain(|entry| entry.day != 195));
    let next = scene.sync().await;
    assert!(
        matches!(next.way, Some(Way::Dates { .. })),
        "{:?}",
        next.way
    );
    assert_eq!(next.removed, 1);
    scene.assert_equal().await;
    let next = scene.sync().await;
    assert_eq!(
        next.way,
        Some(Way::AfterEntry {
            reference: "E1".to_owned()
        })
    );
    // One whose entries have no names cannot be asked for deltas.
    scene
        .bank
        .with(|model| model.post(true, 196, payment(5, "Shop")));
    let next = scene.sync().await;
    assert!(
        matches!(next.way, Some(Way::Dates { .. })),
        "{:?}",
        next.way
    );
    scene.assert_equal().await;
}

#[tokio::test]
async fn a_pending_entry_that_is_booked_tells_since_when_it_was_pending() {
    let with_end_to_end = |transaction: Transaction, id: &str| Transaction {
        end_to_end_id: Some(Text::cut(id)),
        ..transaction
    };
    let with_id = |transaction: Transaction, id: &str| Transaction {
        transaction_id: Some(Text::cut(id)),
        ..transaction
    };
    let as_entry = |transaction: Transaction, id: &str| Transaction {
        entry_reference: Some(Text::cut(id)),
        ..transaction
    };
    for offers in [Offers::Nothing, Offers::References, Offers::LastReport] {
        for (pending, booked, known) in [
            (
                Box::new(with_id(payment(-5, "Shop"), "T1")),
                Box::new(with_id(payment(-6, "Other"), "T1")),
                true,
            ),
            (
                Box::new(as_entry(payment(-5, "Shop"), "R1")),
                Box::new(as_entry(payment(-6, "Other"), "R1")),
                true,
            ),
            (
                Box::new(with_end_to_end(payment(-5, "A"), "X")),
                Box::new(with_end_to_end(payment(-6, "B"), "X")),
                true,
            ),
            (
                Box::new(with_end_to_end(payment(-5, "A"), "NOTPROVIDED")),
                Box::new(with_end_to_end(payment(-6, "B"), "NOTPROVIDED")),
                false,
            ),
            (
                Box::new(payment(-5, "Cafe ")),
                Box::new(payment(-5, "CAFE")),
                true,
            ),
            (
                Box::new(payment(-5, "Cafe")),
                Box::new(payment(-5, "Pub")),
                false,
            ),
            (
                Box::new(payment(-5, "Cafe")),
                Box::new(payment(-6, "Cafe")),
                false,
            ),
        ] {
            let scene = Scene::set(offers, 2).await;
            scene.bank.with(|model| {
                model.post(true, 150, named("E1", 1));
                model.post(false, 199, payment(-4, "Stays"));
                model.post(false, 199, *pending);
            });
            let (_, outcome) = scene.sync_at(1000).await;
            outcome.unwrap();
            scene.bank.with(|model| {
                model.entries.pop();
                let named = booked.transaction_id.is_some() || booked.entry_reference.is_some();
                let booked = if named {
                    *booked
                } else {
                    as_entry(*booked, "NEW")
                };
                model.post(true, 200, booked);
            });
            let (report, outcome) = scene.sync_at(2000).await;
            outcome.unwrap();
            scene.assert_equal().await;
            assert_eq!(report.matched, u64::from(known), "{offers:?}");
            assert_eq!(report.removed, u64::from(!known), "{offers:?}");
            let copied = scene.copied().await;
            let newest = copied.iter().find(|entry| entry.booked).unwrap();
            let since = newest.pending_since.map(|time| time.timestamp());
            assert_eq!(since, known.then_some(1000), "{offers:?}");
            assert_eq!(newest.first_seen.timestamp(), 2000);
            assert!(
                copied
                    .iter()
                    .all(|entry| entry.booked || entry.first_seen.timestamp() == 1000)
            );
        }
    }
}

#[tokio::test]
async fn what_looks_alike_and_is_still_pending_is_not_taken_for_booked() {
    let scene = Scene::set(Offers::References, 1).await;
    scene.bank.with(|model| {
        model.post(true, 150, named("E1", 1));
        model.post(false, 198, payment(-3, "Cafe"));
    });
    scene.sync_at(1000).await.1.unwrap();
    scene.bank.with(|model| {
        let coffee = Transaction {
            entry_reference: Some(Text::cut("E2")),
            ..payment(-3, "Cafe")
        };
        model.post(true, 199, coffee);
    });
    let (report, outcome) = scene.sync_at(2000).await;
    outcome.unwrap();
    assert_eq!(report.matched, 0);
    scene.assert_equal().await;
}

#[tokio::test]
async fn what_a_bank_tells_once_and_is_lost_is_read_again() {
    let scene = Scene::set(Offers::LastReport, 2).await;
    scene
        .bank
        .with(|model| model.post(true, 190, named("E0", 1)));
    scene.sync().await;
    scene.sync().await;
    for after in [0, 1, 2, 3] {
        let now = 10_000 * i64::try_from(after + 1).unwrap();
        scene.bank.with(|model| {
            for number in 0..4 {
                model.post(true, 191 + number, named(&format!("E{after}{number}"), 1));
            }
            model.cut_after = Some(after);
        });
        let (report, outcome) = scene.sync_at(now).await;
        assert!(matches!(outcome, Err(SyncError::Bank(_))));
        assert_eq!(report.way, Some(Way::AfterLastReport));
        // Until it is certain that the request is no longer being answered, there may be another
        // report that is lost.
        for later in [1, 60, 120] {
            let (next, outcome) = scene.sync_at(now + later).await;
            outcome.unwrap();
            let way = next.way;
            assert!(matches!(way, Some(Way::Dates { .. })), "{later}: {way:?}");
            scene.assert_equal().await;
        }
        let (next, outcome) = scene.sync_at(now + 121).await;
        outcome.unwrap();
        assert_eq!(next.way, Some(Way::AfterLastReport));
    }
}

#[tokio::test]
async fn of_two_runs_the_later_one_goes_on() {
    use super::super::window::{ListScope, Window};

    let scene = Scene::set(Offers::Nothing, 2).await;
    let moment = Moment {
        now: 1,
        today: day(TODAY),
    };
    let scope = ListScope::Period { from: day(0) };
    let page = listing(Vec::new(), vec![Row::payment(named("E1", 1)).unwrap()]);
    let mut first = Window::begin(&scene.copy, 1, scope, moment, false)
        .await
        .unwrap();
    first.add_page(&page).await.unwrap();
    let mut second = Window::begin(&scene.copy, 1, scope, moment, false)
        .await
        .unwrap();
    let overtaken = first.add_page(&page).await;
    assert!(matches!(overtaken, Err(SyncError::Overtaken)));
    let overtaken = first
        .finish(super::super::window::PendingCoverage::AsListed)
        .await;
    assert!(matches!(overtaken, Err(SyncError::Overtaken)));
    second.add_page(&page).await.unwrap();
    second
        .finish(super::super::window::PendingCoverage::AsListed)
        .await
        .unwrap();
    assert_eq!(scene.copied().await.len(), 1);
}

#[tokio::test]
async fn what_is_told_once_is_asked_for_by_one_run_at_a_time() {
    use super::super::window::{ListScope, PendingCoverage, Window};

    let scene = Scene::set(Offers::LastReport, 2).await;
    let moment = |now| Moment {
        now,
        today: day(TODAY),
    };
    let begin = |now, is_one_time| {
        Window::begin(&scene.copy, 1, ListScope::Delta, moment(now), is_one_time)
    };
    let asking = begin(1000, true).await.unwrap();
    let second = begin(1001, true).await;
    assert!(matches!(second, Err(SyncError::Overtaken)));
    // A walk by dates may go on; it does not say that the report has come.
    let by_dates = Window::begin(
        &scene.copy,
        1,
        ListScope::Period { from: day(0) },
        moment(1001),
        false,
    )
    .await
    .unwrap();
    by_dates.finish(PendingCoverage::AsListed).await.unwrap();
    let late = asking.finish(PendingCoverage::AsListed).await;
    assert!(matches!(late, Err(SyncError::Overtaken)));
    assert!(
        scene
            .copy
            .sync_state(scene.account)
            .await
            .unwrap()
            .in_flight
    );
}

#[tokio::test]
async fn others_write_between_the_pieces_of_a_long_page() {
    use super::super::window::{ListScope, Window};

    let scene = Scene::set(Offers::Nothing, 2).await;
    let moment = Moment {
        now: 1,
        today: day(TODAY),
    };
    let rows = (0..1200).map(|number| Row::payment(named(&format!("E{number}"), 1)).unwrap());
    let page = listing(Vec::new(), rows.collect());
    let mut window = Window::begin(
        &scene.copy,
        1,
        ListScope::Period { from: day(0) },
        moment,
        false,
    )
    .await
    .unwrap();
    let order = Mutex::new(Vec::new());
    futures::join!(
        async {
            window.add_page(&page).await.unwrap();
            order.lock().unwrap().push("the page");
        },
        async {
            scene.copy.begin().await.unwrap().commit().await.unwrap();
            order.lock().unwrap().push("another bank");
        }
    );
    assert_eq!(*order.lock().unwrap(), ["another bank", "the page"]);
    assert_eq!(window.tally.new, 1200);
}

#[tokio::test]
async fn a_run_ends_in_time() {
    let mut scene = Scene::set(Offers::LastReport, 2).await;
    scene.time = Duration::ZERO;
    let (report, outcome) = scene.sync_at(1).await;
    let Err(SyncError::Bank(error)) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(matches!(error.kind, ErrorKind::NotAsked { limit } if limit == scene.time));
    assert_eq!(report.way, None);
    assert!(scene.bank.with(|model| model.asked.is_empty()));
}

#[tokio::test]
async fn the_file_is_its_owners_and_its_keys_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.db");
    std::fs::write(&path, "").unwrap();
    let scene = Scene::set(Offers::Nothing, 2).await;
    scene
        .bank
        .with(|model| model.post(true, 190, named("SECRET-REFERENCE", 123_456)));
    scene.sync().await;
    for file in std::fs::read_dir(scene.folder.path()).unwrap() {
        let path = file.unwrap().path();
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(&path).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        let bytes = std::fs::read(&path).unwrap();
        for secret in ["SECRET-REFERENCE", "123456", "Shop"] {
            let found = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} in {}", path.display());
        }
    }
    let copy = LocalCopy::open(&path, vault(1)).await.unwrap();
    let wrong = LocalCopy::open(&path, vault(2)).await.unwrap_err();
    assert!(matches!(wrong, CopyError::Key { .. }), "{wrong}");
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', 1, x'00', 0)",
    )
    .execute(&copy.pool)
    .await
    .unwrap();
    let newer = LocalCopy::open(&path, vault(1)).await.unwrap_err();
    assert!(matches!(newer, CopyError::Newer { .. }), "{newer}");
}
