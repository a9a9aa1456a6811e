package bench

import (
	"cmp"
	"slices"
	"time"
)

// sample is what one row of a table sums up.
type sample[T cmp.Ordered] []T

// at is the smallest value that p percent of the sample do not exceed (nearest rank); zero without values.
func (s sample[T]) at(p int) T {
	if len(s) == 0 {
		return *new(T)
	}
	sorted := slices.Sorted(slices.Values(s))
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1]
}

// durations is what most rows sum up.
type durations = sample[time.Duration]

// together is all values of several samples.
func together(samples ...durations) (all durations) {
	for _, s := range samples {
		all = append(all, s...)
	}
	return all
}

// ratio is how a compares to the smallest of the others; ok is false where there is nothing to compare with. What is
// zero was not measured.
func ratio(a float64, others ...float64) (r float64, ok bool) {
	best := 0.0
	for _, o := range others {
		if o > 0 && (best == 0 || o < best) {
			best = o
		}
	}
	if best == 0 || a == 0 {
		return 0, false
	}
	return a / best, true
}
