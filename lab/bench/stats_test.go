package bench

import (
	"testing"
	"time"
)

func TestSampleAt(t *testing.T) {
	hundred := make(sample[int], 100)
	for i := range hundred {
		hundred[i] = 100 - i // 1 to 100, the largest first
	}
	tests := []struct {
		name           string
		sample         sample[int]
		p50, p99, last int
	}{
		{"nothing", nil, 0, 0, 0},
		{"one value is every percentile", sample[int]{7}, 7, 7, 7},
		{"the median of two is the smaller one", sample[int]{9, 3}, 3, 9, 9},
		{"the order does not count", sample[int]{5, 1, 3}, 3, 5, 5},
		{"p99 of a hundred is the last but one", hundred, 50, 99, 100},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := test.sample
			if s.at(50) != test.p50 || s.at(99) != test.p99 || s.at(100) != test.last {
				t.Errorf("p50 %d, p99 %d, max %d", s.at(50), s.at(99), s.at(100))
			}
		})
	}
}

func TestRatio(t *testing.T) {
	tests := []struct {
		name   string
		value  float64
		others []float64
		want   float64
		ok     bool
	}{
		{"to the smallest", 6, []float64{4, 3, 5}, 2, true},
		{"what was not measured does not count", 6, []float64{0, 3}, 2, true},
		{"nothing to compare with", 6, nil, 0, false},
		{"only what was not measured", 6, []float64{0}, 0, false},
		{"not measured itself", 0, []float64{3}, 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, ok := ratio(test.value, test.others...); got != test.want || ok != test.ok {
				t.Errorf("%g, %t", got, ok)
			}
		})
	}
}

func TestFiguresHaveThreeDigits(t *testing.T) {
	tests := []struct{ got, want string }{
		{millis(0), "-"},
		{millis(344 * time.Microsecond), "0.34"},
		{millis(61_432 * time.Microsecond), "61.4"},
		{millis(16_153 * time.Millisecond), "16,153"},
		{times(6, 4, 3), "2.00"},
		{times(6), "-"},
		{count(999), "999"},
		{count(10_000), "10,000"},
		{count(1_234_567), "1,234,567"},
		{mebibytes(50 << 20), "50.0"},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
}
