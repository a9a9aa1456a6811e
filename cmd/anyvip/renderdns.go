package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anyvip/anyvip/pkg/config"
	"github.com/anyvip/anyvip/pkg/policy"
	"github.com/anyvip/anyvip/pkg/vip"
)

// dnsFlags are those of `render dns`.
type dnsFlags struct {
	name           string
	ttl            uint32
	vips, services []string
}

func newRenderDNSCommand() *cobra.Command {
	var f dnsFlags
	cmd := &cobra.Command{
		Use:   "dns --name NAME [--vips VIPS]",
		Short: "Print the A and AAAA records of a name with several VIPs, as lines of a zone file",
		Long: `Print the A and AAAA records of a name with several VIPs, as lines of a zone file.
The VIPs are those of --vips, or of the services in mode vrrp of the configuration
file, or of those that --service names, in any mode.

Clients pick one of the addresses. That spreads clients over the servers that own the
addresses, not load, and never quite evenly. VRRP keeps every address answered while
one server is left: no record has to go when a server fails.

Link-local addresses have no place in DNS, and are left out.`,
		Example: `  anyvip render dns --name web.example.org --service web-a,web-b
  anyvip render dns --name web.example.org --ttl 60 --vips 10.0.5.100,10.0.5.101`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return renderDNS(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "the `NAME` of the records, with its domain")
	flags.Uint32Var(&f.ttl, "ttl", 300, "how many `SECONDS` an answer may be kept: so long does a change of the addresses take")
	flags.StringSliceVar(&f.vips, "vips", nil, vipsUsage)
	flags.StringSliceVar(&f.services, "service", nil, "the `SERVICES` of the file that the name is for; default: all in mode vrrp")
	return cmd
}

func renderDNS(cmd *cobra.Command, f dnsFlags) error {
	if err := f.check(cmd); err != nil {
		return err
	}
	vips, err := parseVIPs(f.vips)
	if err == nil && len(vips) == 0 {
		vips, err = f.fromFile(cmd)
	}
	if err != nil {
		return err
	}
	text, err := zone(strings.TrimSuffix(f.name, "."), f.ttl, vips)
	if err != nil {
		return err
	}
	_, err = io.WriteString(cmd.OutOrStdout(), text)
	return err
}

// domainName is a name of at least two labels, RFC 1035, section 2.3.1.
var domainName = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)+[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?$`)

const (
	longestName = 253               // characters, without the dot at its end
	longestTTL  = 1<<31 - 1         // RFC 2181, section 8
	answerSize  = 1232              // what most resolvers take over UDP: fits into any link's packet
	answerEmpty = 12 + 11 + 4       // header, OPT record, type and class of the question
	recordSize  = 2 + 2 + 2 + 4 + 2 // name (compressed), type, class, TTL, length
)

func (f dnsFlags) check(cmd *cobra.Command) error {
	switch {
	case f.name == "":
		return usageError{errors.New("say the name of the records: --name web.example.org")}
	case !domainName.MatchString(f.name) || len(strings.TrimSuffix(f.name, ".")) > longestName:
		return usageError{fmt.Errorf("--name %q is no domain name with its domain, such as web.example.org", f.name)}
	case f.ttl > longestTTL:
		return usageError{fmt.Errorf("--ttl %d is out of range (allowed: 0 to %d)", f.ttl, uint32(longestTTL))}
	case len(f.vips) > 0 && len(f.services) > 0:
		return usageError{errors.New("--service goes with a file, and --vips without one")}
	}
	return eitherVIPsOrFile(cmd)
}

// fromFile takes the services that are named, or all in mode vrrp.
func (f dnsFlags) fromFile(cmd *cobra.Command) (vips []namedVIP, err error) {
	d, err := readDocument(cmd)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range d.Services {
		names = append(names, s.Name)
		if slices.Contains(f.services, s.Name) || len(f.services) == 0 && s.Mode == policy.ModeVRRP {
			vips = append(vips, namedVIP{name: s.Name, addresses: s.Addresses})
		}
	}
	for _, s := range f.services {
		if slices.Contains(names, s) {
			continue
		}
		hint := ""
		if meant := config.Nearest(s, names); meant != "" {
			hint = "; did you mean " + meant + "?"
		}
		return nil, fmt.Errorf("%s has no service %q%s", d.file, s, hint)
	}
	if len(vips) == 0 {
		return nil, fmt.Errorf("%s has no service in mode vrrp; say which ones: --service", d.file)
	}
	return vips, nil
}

// zone is the records of a name, and what they do and do not do.
func zone(name string, ttl uint32, vips []namedVIP) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `; %[1]s: round robin. Name servers change the order, and each client picks one address, often
; the first, some the one most like their own (RFC 6724). That spreads clients, not load, and
; never quite evenly: all behind one resolver get the same answer for up to %[2]d s.
; VRRP is failover, never load balancing: it keeps every address answered while one server is
; left. So no record goes when a server fails; the TTL is how long a change of this list takes.
`, name, ttl)
	size := map[vip.Family]int{}
	records := ""
	seen := map[netip.Addr]bool{}
	for _, v := range vips {
		for _, h := range v.addresses {
			a := h.Addr()
			if a.IsLinkLocalUnicast() || seen[a] {
				continue
			}
			seen[a] = true
			kind := "A   "
			if a.Is6() {
				kind = "AAAA"
			}
			records += fmt.Sprintf("%s. %d IN %s %s", name, ttl, kind, a)
			if v.name != "" {
				records += " ; " + v.name
			}
			records += "\n"
			size[vip.FamilyOf(a)] += recordSize + a.BitLen()/8
		}
	}
	if records == "" {
		return "", errors.New("there is no address that could stand in DNS: all are link-local")
	}
	if answer := answerEmpty + len(name) + 2 + max(size[vip.IPv4], size[vip.IPv6]); answer > answerSize {
		fmt.Fprintf(&b, "; An answer has %d bytes. Above %d it comes over TCP, or not at all where a firewall lets only UDP through.\n", answer, answerSize)
	}
	return b.String() + records, nil
}
