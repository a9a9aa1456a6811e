package lease

import "time"

// What the kernel makes of a lifetime, measured on Linux 6.18 (IPv4 and IPv6 alike,
// TestWhenTheKernelRemoves shows it again): it counts whole seconds from the renewal,
// never removes an address before they are over, and looks at the next full second or
// up to 0.3 s late; but at most once a second, so that an address that expires shortly
// after another one goes up to 1 s late.
//
// So a lifetime of at most 4 x Advertisement_Interval + 2 s is over within
// 4 x Advertisement_Interval + 3 s, whatever else expires on this host.
const (
	slack       = 2 * time.Second // of a lifetime, beyond what it has to cover
	shortest    = 2               // seconds; the kernel refuses 0, and 1 leaves no time to be late with a renewal
	lateRenewal = 500 * time.Millisecond
	longest     = 4*255 + 2 // seconds: of the longest Advertisement_Interval, 255 s (RFC 3768, section 5.3.7)
)

// cover is how long an address must outlive this agent: until another router took
// over, so that nothing is lost.
func cover(interval time.Duration) time.Duration { return 4 * interval }

// lifetime is what a renewal gives, in whole seconds: the cover, and one to two
// seconds more.
func lifetime(interval time.Duration) uint32 {
	return uint32(min(max((cover(interval)+slack)/time.Second, shortest), longest))
}

// keep is what a lifetime must not fall below: it is renewed before. That leaves a
// renewal half a second to be late. Two seconds are kept where the lifetime allows;
// with a short interval it is 2 s in all.
func keep(interval time.Duration) time.Duration {
	all := time.Duration(lifetime(interval)) * time.Second
	return min(max(cover(interval)+lateRenewal, 2*time.Second), all-lateRenewal)
}
