package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/anyvip/anyvip/lab/hostile"
)

// seedVariable sets the seed of TestHostilePeers, to see once more what one has found.
const seedVariable = "ANYVIP_FUZZ_SEED"

// beHostile is the role of hostileName. It is hostile as its argument says, until
// SIGTERM, and then prints what it did.
func beHostile(args []string) error {
	var c hostile.Config
	if err := json.Unmarshal([]byte(args[0]), &c); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	sum, err := hostile.Run(ctx, c)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(sum)
}

// TestHostilePeers fuzzes s1 for a minute from 18 addresses, with malformed OPENs and
// UPDATEs and worse. The agent lives, and the other ToR does not notice.
func TestHostilePeers(t *testing.T) {
	t.Parallel()
	lasting := time.Minute
	if testing.Short() {
		lasting = 10 * time.Second
		t.Logf("-short: for %s instead of a minute", lasting)
	}
	seed := rand.Uint64()
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedVariable, err)
		}
	}
	t.Logf("%s=%d", seedVariable, seed)
	r := up(t, "faults-hostile.clab.yml", options{theirs: true})
	at := r.watchTor("tor", "eth1")
	for _, p := range vips {
		at.route(time.Time{}, p, 1)
	}
	before := r.settled("s1")
	t.Logf("before: %s", before)
	started := r.mustStatus("s1").Started

	begin := time.Now()
	c := hostile.Config{Seed: seed, ASN: 65002, Speaker: netip.MustParseAddr("10.2.1.2")}
	for i := range 8 {
		c.Listen = append(c.Listen, netip.AddrFrom4([4]byte{10, 2, 1, byte(11 + i)}))
		c.Dial = append(c.Dial, netip.AddrFrom4([4]byte{10, 2, 1, byte(21 + i)}))
	}
	known := len(c.Dial)
	c.Dial = append(c.Dial, netip.MustParseAddr("10.2.1.31"), netip.MustParseAddr("10.2.1.32"))
	attack := r.role("hostile", hostileName, asJSON(c))
	var out bytes.Buffer
	attack.Stdout, attack.Stderr = &out, os.Stderr
	if err := attack.Start(); err != nil {
		t.Fatal(err)
	}
	<-time.After(time.Until(begin.Add(lasting)))
	if err := attack.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := attack.Wait(); err != nil {
		t.Fatal(err)
	}
	var sum hostile.Summary
	if err := json.Unmarshal(out.Bytes(), &sum); err != nil {
		t.Fatal(err)
	}
	t.Logf("in %s: %s", lasting, asJSON(sum))
	if least := int(lasting / time.Second); sum.Established < least || sum.Messages < 10*least || len(sum.Notifications) < 5 {
		t.Error("that was hardly hostile")
	}

	// The same addresses, polite: every session comes up.
	c.Polite, c.Dial = true, c.Dial[:known]
	polite := r.role("hostile", hostileName, asJSON(c))
	if err := polite.Start(); err != nil {
		t.Fatal(err)
	}
	ended := time.Now()
	s := r.statusShows("s1", "all sessions", agentStatus.established)
	t.Logf("all %d sessions were up %s after the attack", len(s.Sessions), ms(time.Since(ended)))
	if !s.Started.Equal(started) {
		t.Error("the agent ended and began anew")
	}
	if x := s.session(t, "tor"); x.Flaps != 0 {
		t.Errorf("the session with the good ToR flapped %d times", x.Flaps)
	}
	at.untouched(begin, "under attack")
	var after usage
	eventually(t, patience, func() error {
		after = r.usage("s1")
		// A session that is up has a descriptor, and some goroutines.
		if more := len(s.Sessions) - 1; after.Descriptors > before.Descriptors+more+10 || after.Goroutines > before.Goroutines+4*more {
			return fmt.Errorf("%s, before the attack %s", after, before)
		}
		return nil
	})
	t.Logf("after: %s", after)
}
