package lease

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// little skips a golden test where the machine has the other byte order.
func little(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the bytes are those of a little-endian machine")
	}
}

func TestARequestOnTheWire(t *testing.T) {
	little(t)
	for name, tc := range map[string]struct {
		r     request
		flags uint16
		want  []byte
	}{
		"add IPv4": {request{add, spot{v4, 5}, 6}, 0, []byte{
			60, 0, 0, 0, // length
			20, 0, // RTM_NEWADDR
			0x01, 0x06, // request, excl, create
			7, 0, 0, 0, // serial
			0, 0, 0, 0, // port
			2, 32, 0, 0, // AF_INET, prefix length, flags, scope global
			5, 0, 0, 0, // index
			8, 0, 2, 0, 192, 0, 2, 10, // IFA_LOCAL
			8, 0, 1, 0, 192, 0, 2, 10, // IFA_ADDRESS
			20, 0, 6, 0, // IFA_CACHEINFO
			6, 0, 0, 0, // preferred
			6, 0, 0, 0, // valid
			0, 0, 0, 0, 0, 0, 0, 0, // timestamps
		}},
		"renew IPv6": {request{renew, spot{v6, 5}, 6}, unix.NLM_F_ACK, slices.Concat([]byte{
			84, 0, 0, 0, // length
			20, 0, // RTM_NEWADDR
			0x05, 0x05, // request, ack, replace, create
			7, 0, 0, 0, 0, 0, 0, 0, // serial, port
			10, 128, 2, 0, // AF_INET6, prefix length, IFA_F_NODAD, scope global
			5, 0, 0, 0, // index
			20, 0, 2, 0, // IFA_LOCAL
		}, v6.AsSlice(), []byte{
			20, 0, 1, 0, // IFA_ADDRESS
		}, v6.AsSlice(), []byte{
			20, 0, 6, 0, // IFA_CACHEINFO
			0, 0, 0, 0, // preferred: never
			6, 0, 0, 0, // valid
			0, 0, 0, 0, 0, 0, 0, 0, // timestamps
		})},
		"remove IPv4": {request{remove, spot{v4, 5}, 6}, 0, []byte{
			40, 0, 0, 0, // length
			21, 0, // RTM_DELADDR
			0x01, 0, // request
			7, 0, 0, 0, 0, 0, 0, 0, // serial, port
			2, 32, 0, 0, 5, 0, 0, 0, // as above
			8, 0, 2, 0, 192, 0, 2, 10,
			8, 0, 1, 0, 192, 0, 2, 10,
		}},
	} {
		if diff := cmp.Diff(tc.want, appendRequest(nil, tc.r, 7, tc.flags)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// answer is an NLMSG_ERROR, with the header of the request that it is about.
func answer(serial uint32, code int32) []byte {
	b := make([]byte, 36)
	binary.NativeEndian.PutUint32(b, 36)
	binary.NativeEndian.PutUint16(b[4:], unix.NLMSG_ERROR)
	binary.NativeEndian.PutUint32(b[8:], serial)
	binary.NativeEndian.PutUint32(b[16:], uint32(code))
	return b
}

func TestAnswersAreOfTheirRequests(t *testing.T) {
	for name, tc := range map[string]struct {
		bytes []byte
		want  []error
		last  bool
	}{
		"none":                 {nil, []error{nil, nil, nil}, false},
		"all is well":          {answer(9, 0), []error{nil, nil, nil}, true},
		"one failed":           {slices.Concat(answer(8, -17), answer(9, 0)), []error{nil, unix.EEXIST, nil}, true},
		"the last failed":      {answer(9, -1), []error{nil, nil, unix.EPERM}, true},
		"the last is to come":  {answer(7, -1), []error{unix.EPERM, nil, nil}, false},
		"of an earlier batch":  {slices.Concat(answer(6, -1), answer(9, 0)), []error{nil, nil, nil}, true},
		"of a later one":       {answer(10, -1), []error{nil, nil, nil}, false},
		"cut off":              {answer(9, -1)[:19], []error{nil, nil, nil}, false},
		"with a length of 0":   {append(make([]byte, 20), answer(9, 0)...), []error{nil, nil, nil}, true},
		"with a length beyond": {slices.Concat([]byte{255, 255, 255, 255}, make([]byte, 16), answer(9, 0)), []error{nil, nil, nil}, false},
	} {
		out := make([]error, 3)
		last := readAnswers(tc.bytes, 7, out)
		if last != tc.last || !slices.EqualFunc(out, tc.want, errors.Is) {
			t.Errorf("%s: %v %t, want %v %t", name, out, last, tc.want, tc.last)
		}
	}
}

func TestOnlyWhatSomebodyElseMayHaveDoneIsAHint(t *testing.T) {
	for name, tc := range map[string]struct {
		kind uint16
		data []byte
		want bool
	}{
		"an address is gone":            {unix.RTM_DELADDR, []byte{unix.AF_INET, 32, 0, 0, 0, 0, 0, 0}, true},
		"IPv4 with a lifetime":          {unix.RTM_NEWADDR, []byte{unix.AF_INET, 32, 0, 0, 0, 0, 0, 0}, false},
		"IPv6 with a lifetime":          {unix.RTM_NEWADDR, []byte{unix.AF_INET6, 128, unix.IFA_F_NODAD, 0, 0, 0, 0, 0}, false},
		"IPv4 for ever":                 {unix.RTM_NEWADDR, []byte{unix.AF_INET, 32, unix.IFA_F_PERMANENT, 0, 0, 0, 0, 0}, true},
		"IPv6 for ever":                 {unix.RTM_NEWADDR, []byte{unix.AF_INET6, 128, unix.IFA_F_PERMANENT, 0, 0, 0, 0, 0}, true},
		"IPv4 with a prefix length":     {unix.RTM_NEWADDR, []byte{unix.AF_INET, 24, 0, 0, 0, 0, 0, 0}, true},
		"IPv6 with a prefix length":     {unix.RTM_NEWADDR, []byte{unix.AF_INET6, 64, 0, 0, 0, 0, 0, 0}, true},
		"IPv6 with a prefix length, 32": {unix.RTM_NEWADDR, []byte{unix.AF_INET6, 32, 0, 0, 0, 0, 0, 0}, true},
		"cut off":                       {unix.RTM_NEWADDR, []byte{unix.AF_INET, 32}, false},
		"a link":                        {unix.RTM_NEWLINK, make([]byte, 16), true},
		"a link is gone":                {unix.RTM_DELLINK, make([]byte, 16), true},
		"a route":                       {unix.RTM_NEWROUTE, make([]byte, 16), false},
	} {
		if got := isHint(tc.kind, tc.data); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
