//! SDK responses, with the deviations from the standard that were tolerated.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::{BoxStream, StreamExt as _};

use crate::deviations::{DeviationCollector, Deviations};

/// A bank's decoded response. **Elements of its lists (accounts, balances, entries) that could not
/// be read are not in it**: they are left out and counted, and [`is_whole`](Self::is_whole) is
/// false.
///
/// It derefs to the data, and has the [deviations](Self::deviations) from the standard.
///
/// ```no_run
/// # async fn example(reading: bank_client::AccountInformation) -> Result<(), bank_client::Error> {
/// let balances = reading.balances("3dc3d5b3").await?;
/// for deviation in &balances.deviations {
///     eprintln!("{deviation}");
/// }
/// if !balances.is_whole() {
///     eprintln!("some balances could not be read");
/// }
/// for balance in balances.into_inner().balances {
///     println!("{}", balance.balance_amount);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response<T> {
    value: T,
    /// Its deviations from the standard. Unless [`left_out`](Deviations::left_out) is 0, a
    /// list is not whole.
    pub deviations: Deviations,
}

impl<T> Response<T> {
    pub(crate) const fn new(value: T, deviations: Deviations) -> Self {
        Self { value, deviations }
    }

    /// The data alone.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.value
    }

    /// The data, and what of it deviates from the standard.
    #[must_use]
    pub fn into_parts(self) -> (T, Deviations) {
        (self.value, self.deviations)
    }

    /// Whether no element of its lists was left out because it could not be read.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.deviations.left_out() == 0
    }

    /// Other data, made of this, with the same deviations.
    #[must_use]
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Response<U> {
        Response::new(make(self.value), self.deviations)
    }
}

impl<T> Deref for Response<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Response<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: IntoIterator> IntoIterator for Response<T> {
    type Item = T::Item;
    type IntoIter = T::IntoIter;

    fn into_iter(self) -> T::IntoIter {
        self.value.into_iter()
    }
}

#[expect(
    clippy::into_iter_without_iter,
    reason = "it derefs to what has `iter`"
)]
impl<'a, T> IntoIterator for &'a Response<T>
where
    &'a T: IntoIterator,
{
    type Item = <&'a T as IntoIterator>::Item;
    type IntoIter = <&'a T as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        (&self.value).into_iter()
    }
}

/// A stream of entries. **Entries that could not be read are not among its items**: they are left
/// out and counted, and [`is_whole`](Self::is_whole) is then false at the end.
///
/// It has the [deviations](Self::deviations) from the standard in the responses so far.
///
/// Where adaptors take the stream, they can borrow it: `entries.by_ref().try_collect()`.
#[must_use = "it sends nothing before it is polled"]
pub struct Entries<T> {
    stream: BoxStream<'static, T>,
    told: DeviationCollector,
}

impl<T> Entries<T> {
    pub(crate) fn new(stream: BoxStream<'static, T>, told: DeviationCollector) -> Self {
        Self { stream, told }
    }

    /// Deviations of the pages that were read so far from the standard. Entries that could
    /// not be read are not among the items: they are [counted](Deviations::left_out) here.
    #[must_use]
    pub fn deviations(&self) -> Deviations {
        self.told.snapshot()
    }

    /// Whether no entry of the pages that were read so far was left out because it could not be
    /// read.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.told.snapshot().left_out() == 0
    }

    /// The same beside other items, each made of one of these.
    pub(crate) fn map_items<U>(self, make: impl FnMut(T) -> U + Send + 'static) -> Entries<U>
    where
        T: 'static,
    {
        Entries::new(self.stream.map(make).boxed(), self.told)
    }

    /// Those that were not taken before.
    pub(crate) fn take_deviations(&self) -> Deviations {
        self.told.take()
    }
}

/// A stream without deviations.
impl<T> From<BoxStream<'static, T>> for Entries<T> {
    fn from(stream: BoxStream<'static, T>) -> Self {
        Self::new(stream, DeviationCollector::default())
    }
}

impl<T> Stream for Entries<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.stream.as_mut().poll_next(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

impl<T> fmt::Debug for Entries<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").finish_non_exhaustive()
    }
}
