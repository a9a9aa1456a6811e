package load

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"
)

// Run makes the requests and returns their summary. emit, called by one goroutine at a time, gets Ready first, then
// the failed requests (all of them with Each) in the order in which they ended, and Summed last. When ctx ends no new
// request starts; those under way are waited for, at most Timeout. That is a regular end: only a Config that makes
// no sense is an error.
func Run(ctx context.Context, c Config, emit func(Event)) (Summary, error) {
	client, err := newClient(&c)
	if err != nil {
		return Summary{}, err
	}
	start := time.Now()
	emit(Event{Time: start.Round(0), Kind: Ready})

	results := make(chan Request, 1024)
	counted := make(chan struct{})
	counter := newCounter(c.Target, start)
	go func() {
		defer close(counted)
		for r := range results {
			counter.add(r)
			if r.Failure != "" || c.Each {
				emit(Event{Time: r.Ended, Kind: Result, Request: &r})
			}
		}
	}()

	var underWay sync.WaitGroup
	slots := make(chan struct{}, c.InFlight)
	// Requests outlive ctx: what has begun is measured to its end.
	requests := context.WithoutCancel(ctx)
	for number, due := range c.schedule(ctx, start, slots) {
		underWay.Go(func() {
			results <- client.do(requests, number, due)
			if c.Rate == 0 {
				<-slots
			}
		})
	}
	underWay.Wait()
	close(results)
	<-counted

	summary := counter.summary(time.Now())
	emit(Event{Time: summary.Ended, Kind: Summed, Summary: &summary})
	return summary, nil
}

// schedule yields the number of each request and when it is due, at that time: with a rate at fixed points after
// start, without one whenever one of the slots is free.
func (c Config) schedule(ctx context.Context, start time.Time, slots chan<- struct{}) iter.Seq2[int, time.Time] {
	return func(yield func(int, time.Time) bool) {
		timer := time.NewTimer(0)
		defer timer.Stop()
		for number := 1; c.Count == 0 || number <= c.Count; number++ {
			due := time.Now()
			if c.Rate > 0 {
				due = start.Add(time.Duration(float64(number-1) / c.Rate * float64(time.Second)))
			}
			if c.Duration > 0 && due.Sub(start) >= c.Duration {
				return
			}
			if c.Rate > 0 {
				timer.Reset(time.Until(due))
				select {
				case <-timer.C:
				case <-ctx.Done():
				}
			} else {
				select {
				case slots <- struct{}{}:
					due = time.Now()
				case <-ctx.Done():
				}
			}
			if ctx.Err() != nil || !yield(number, due) {
				return
			}
		}
	}
}

// counter adds up results. It has one owner.
type counter struct {
	sum       Summary
	latencies []time.Duration
}

func newCounter(target string, start time.Time) *counter {
	return &counter{sum: Summary{Target: target, Started: start.Round(0), Servers: map[string]int{}, Failures: map[Failure]int{}}}
}

func (c *counter) add(r Request) {
	s := &c.sum
	s.Requests++
	s.Late = max(s.Late, r.Started.Sub(r.Due))
	if r.Failure == "" {
		s.OK++
		s.Servers[r.Server]++
		c.latencies = append(c.latencies, r.Latency)
		return
	}
	s.Failed++
	s.Failures[r.Failure]++
	if s.FirstFailure.IsZero() || r.Due.Before(s.FirstFailure) {
		s.FirstFailure = r.Due
	}
	if r.Due.After(s.LastFailure) {
		s.LastFailure = r.Due
	}
}

func (c *counter) summary(end time.Time) Summary {
	s := c.sum
	s.Ended = end.Round(0)
	slices.Sort(c.latencies)
	s.Latency = Percentiles{
		P50: percentile(c.latencies, 50),
		P90: percentile(c.latencies, 90),
		P99: percentile(c.latencies, 99),
		Max: percentile(c.latencies, 100),
	}
	return s
}

// percentile is the smallest value that p percent of the sorted values do not exceed (nearest rank).
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1]
}
