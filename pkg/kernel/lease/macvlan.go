package lease

import (
	"strconv"
	"time"
)

// macvlan is a link of our own over another one, for addresses that have a MAC of their
// own. It is made as soon as such an address may be needed, and up only while one is
// held: one that is down neither answers nor sends anything, not even that it leaves a
// group of multicast, and a switch that heard its MAC from here would send the traffic
// of another router here.
type macvlan struct {
	lower int     // index of the link that it is over
	mac   [6]byte // a virtual router's, RFC 9568, section 7.3
}

// name is the macvlan's: family, VRID, and the index of the link below in base 36. That
// is unique, and at most 15 bytes.
func (m macvlan) name() string {
	return "vip" + strconv.Itoa(m.family()) + "-" + strconv.Itoa(int(m.mac[5])) + "-" + strconv.FormatInt(int64(m.lower), 36)
}

func (m macvlan) family() int {
	if m.mac[4] == 2 {
		return 6
	}
	return 4
}

const (
	spareTime = 2 * time.Second       // after the start: what an earlier run left may be wanted
	sinkTime  = 50 * time.Millisecond // of a pass, for what is not wanted
)

// draft is what a macvlan is called until all of it is as it should be.
const draft = "anyvip-draft"

// markOf is how macvlans are marked whose agent has a state directory: in their alias,
// which "ip link" shows.
func markOf(dir string) string {
	const longest = 255 // bytes, of an alias
	mark := "anyvip, state in " + dir
	return mark[:min(len(mark), longest)]
}

// station is a link of this host, as far as it can be a macvlan of ours.
type station struct {
	name    string
	index   int
	macvlan bool // it is one
	alias   string
	mac     [6]byte
	up      bool // an administrator, or we, want it up (IFF_UP)
	mtu     int
	earlier bool // of ours: it was seen, and this run has not made it
}

// links is the border to the links of the kernel.
type links interface {
	// stations lists the links of this host.
	stations() ([]station, error)
	// flux says why neighbours would hear of an IPv4 address on a macvlan over a link
	// by another MAC, too, or not at all, and what to do; empty: they would not.
	flux(link string) string
	// alter does one thing to one link. It returns the index of one that it made.
	alter(alteration) (index int, err error)
}

// alteration is one change of one link.
type alteration struct {
	act   linkAct
	index int     // but for construct
	what  macvlan // of construct and raise
	link  string  // the name of the link below, of construct
	mark  string  // of construct
	mtu   int     // of resize
}

// linkAct is what an alteration does.
type linkAct uint8

const (
	construct linkAct = iota // make it, down
	raise                    // up
	sink                     // down
	resize                   // another MTU
	demolish                 // remove it
)

var linkActNames = [...]string{"make", "raise", "take down", "resize", "remove"}

func (a linkAct) String() string { return linkActNames[a] }
