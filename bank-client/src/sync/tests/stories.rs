//! Property: any sequence of changes and runs ends with a copy that equals the bank.

use proptest::prelude::*;

use super::*;

/// What happens at the model's bank between two runs.
#[derive(Debug, Clone)]
enum Event {
    /// So many days ago, of so many cents.
    Book {
        ago: u64,
        cents: i64,
        name: Name,
    },
    /// The bank does not say on which day; perhaps it has a value date.
    BookUndated {
        ago: u64,
        cents: i64,
        name: Name,
        valued: bool,
    },
    Pend {
        ago: u64,
        cents: i64,
        name: Name,
    },
    /// The entry of that number among those that are pending.
    Settle {
        number: usize,
        same_id: bool,
    },
    Vanish {
        number: usize,
    },
    /// A booked entry of the last days is another one now, or is gone: banks that only list can do
    /// that.
    Rewrite {
        number: usize,
    },
    Cancel {
        number: usize,
    },
    /// It is booked under another day.
    Move {
        number: usize,
        ago: u64,
    },
    /// A run, cut after so many pages, or whole.
    Run {
        cut_after: Option<usize>,
        page: usize,
    },
}

/// What the bank calls an entry.
#[derive(Debug, Clone, Copy)]
enum Name {
    Nothing,
    Blank,
    /// One of a few that it gives again and again.
    Shared(u8),
    Own,
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        1 => Just(Name::Nothing),
        1 => Just(Name::Blank),
        2 => (0..2_u8).prop_map(Name::Shared),
        4 => Just(Name::Own),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let ago = 0..20_u64;
    let cents = -2..2_i64;
    prop_oneof![
        4 => (ago.clone(), cents.clone(), name())
            .prop_map(|(ago, cents, name)| Event::Book { ago, cents, name }),
        1 => (ago.clone(), cents.clone(), name(), any::<bool>())
            .prop_map(|(ago, cents, name, valued)| Event::BookUndated { ago, cents, name, valued }),
        3 => (ago.clone(), cents, name())
            .prop_map(|(ago, cents, name)| Event::Pend { ago, cents, name }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(number, same_id)| Event::Settle { number, same_id }),
        1 => any::<usize>().prop_map(|number| Event::Vanish { number }),
        1 => any::<usize>().prop_map(|number| Event::Rewrite { number }),
        1 => any::<usize>().prop_map(|number| Event::Cancel { number }),
        1 => (any::<usize>(), ago).prop_map(|(number, ago)| Event::Move { number, ago }),
        4 => (proptest::option::of(0..4_usize), 1..6_usize).prop_map(|(cut_after, page)| Event::Run { cut_after, page }),
    ]
}

impl Model {
    fn happen(&mut self, event: &Event, number: usize, can_rewrite: bool) {
        let called = |name: Name, cents| match name {
            Name::Nothing => payment(cents, "Shop"),
            Name::Blank => super::named(" ", cents),
            Name::Shared(which) => super::named(&format!("S{which}"), cents),
            Name::Own => super::named(&format!("N{number}"), cents),
        };
        let nth = |model: &Self, booked: bool, nth: usize| {
            let of_kind: Vec<usize> = (0..model.entries.len())
                .filter(|index| model.entries[*index].booked == booked)
                .collect();
            (!of_kind.is_empty()).then(|| of_kind[nth % of_kind.len()])
        };
        match *event {
            Event::Book { ago, cents, name } => self.post(true, TODAY - ago, called(name, cents)),
            Event::BookUndated {
                ago,
                cents,
                name,
                valued,
            } => {
                let transaction = Transaction {
                    value_date: valued.then(|| day(TODAY - ago)),
                    ..called(name, cents)
                };
                self.post_undated(TODAY - ago, transaction);
            }
            Event::Pend { ago, cents, name } => {
                let pending = Transaction {
                    entry_reference: None,
                    ..called(name, cents)
                };
                self.post(false, TODAY - ago, pending);
            }
            Event::Settle {
                number: which,
                same_id,
            } => {
                if let Some(index) = nth(self, false, which) {
                    let mut entry = self.entries.remove(index).transaction;
                    entry.entry_reference = Some(Text::cut(&format!("S{number}")));
                    if !same_id {
                        entry.transaction_id = None;
                    }
                    self.post(true, TODAY, entry);
                }
            }
            Event::Vanish { number } => {
                if let Some(index) = nth(self, false, number) {
                    self.entries.remove(index);
                }
            }
            Event::Rewrite { number } if can_rewrite => {
                if let Some(index) = nth(self, true, number) {
                    self.entries[index].transaction.creditor_name = Some(Text::cut("Other"));
                }
            }
            Event::Cancel { number } if can_rewrite => {
                if let Some(index) = nth(self, true, number) {
                    self.entries.remove(index);
                }
            }
            Event::Move { number, ago } if can_rewrite => {
                if let Some(index) = nth(self, true, number) {
                    let posted = &mut self.entries[index];
                    posted.day = TODAY - ago;
                    posted.transaction.booking_date = Some(day(TODAY - ago));
                }
            }
            Event::Rewrite { .. }
            | Event::Cancel { .. }
            | Event::Move { .. }
            | Event::Run { .. } => {}
        }
    }
}

fn story(offers: Offers, events: &[Event]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let scene = Scene::set(offers, 3).await;
        for (number, event) in events.iter().enumerate() {
            scene
                .bank
                .with(|model| model.happen(event, number, offers == Offers::Nothing));
            if let Event::Run { cut_after, page } = event {
                scene.bank.with(|model| {
                    model.page = *page;
                    model.cut_after = *cut_after;
                });
                // Sooner or later than whatever was cut off is over and done with.
                let now = 90 * i64::try_from(number).unwrap();
                let (_, outcome) = scene.sync_at(now).await;
                scene.bank.with(|model| model.cut_after = None);
                if cut_after.is_none() {
                    outcome.unwrap();
                    scene.assert_equal().await;
                }
            }
        }
        scene.sync().await;
        scene.assert_equal().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_copy_ends_equal_where_only_days_can_be_asked_for(events in proptest::collection::vec(event(), 1..40)) {
        story(Offers::Nothing, &events);
    }

    #[test]
    fn the_copy_ends_equal_with_references(events in proptest::collection::vec(event(), 1..40)) {
        story(Offers::References, &events);
    }

    #[test]
    fn the_copy_ends_equal_with_last_reports(events in proptest::collection::vec(event(), 1..40)) {
        story(Offers::LastReport, &events);
    }
}
