package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anyvip/anyvip/pkg/balance"
	"github.com/anyvip/anyvip/pkg/config"
	"github.com/anyvip/anyvip/pkg/policy"
)

func newRenderCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "render",
		Short: "Print configuration for several servers, or for what is around them",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newRenderBalanceCommand(), newRenderDNSCommand())
	return cmd
}

// vipsUsage says how VIPs are written on a command line.
const vipsUsage = "the `VIPS`, separated by commas: ADDRESS or ADDRESS/LENGTH, more addresses of the same service behind a +, its VRID behind a ="

// namedVIP is a service's addresses with what a command line says about them, or a file.
type namedVIP struct {
	name      string
	addresses []policy.HostPrefix
	vrid      uint8 // 0: nothing is said
	link      string
	place     int // in the plan: services that are Active together share one
	service   int // in the file
}

// parseVIP reads 10.0.5.100/24+2001:db8:5::100=51.
func parseVIP(text string) (v namedVIP, err error) {
	list, vrid, given := strings.Cut(text, "=")
	if given {
		n, err := strconv.ParseUint(vrid, 10, 8)
		if err != nil || n == 0 {
			return v, fmt.Errorf("--vips: %s: %q is no VRID (allowed: 1 to 255)", text, vrid)
		}
		v.vrid = uint8(n)
	}
	for a := range strings.SplitSeq(list, "+") {
		var h policy.HostPrefix
		if err := h.UnmarshalText([]byte(a)); err != nil {
			return v, fmt.Errorf("--vips: %s: %w", text, err)
		}
		v.addresses = append(v.addresses, h)
	}
	return v, nil
}

// parseVIPs reads what --vips has.
func parseVIPs(list []string) (vips []namedVIP, err error) {
	for _, text := range list {
		v, err := parseVIP(text)
		if err != nil {
			return nil, usageError{err}
		}
		vips = append(vips, v)
	}
	return vips, nil
}

// balanced is the VIP as package balance knows it. Its VRID is that of its first address,
// if nothing else is said.
func (v namedVIP) balanced() balance.VIP {
	b := balance.VIP{Link: v.link, VRID: v.vrid}
	for _, h := range v.addresses {
		b.Addresses = append(b.Addresses, h.Addr())
	}
	if b.VRID == 0 {
		b.VRID = balance.VRID(b.Addresses[0])
	}
	return b
}

// written is an address as somebody wrote it.
func written(h policy.HostPrefix) string {
	if h.Segment.IsValid() {
		return netip.PrefixFrom(h.Addr(), h.Segment.Bits()).String()
	}
	return h.Addr().String()
}

// document is a configuration file, and what it says.
type document struct {
	file string
	data []byte
	*config.Config
}

// readDocument reads the configuration file that the flags, the environment or the
// default name. Secret files stay closed: it may be another host's.
func readDocument(cmd *cobra.Command) (document, error) {
	s, err := config.ReadSettings(cmd.Flags())
	if err != nil {
		return document{}, usageError{err}
	}
	d := document{file: s.File.Value}
	if d.data, err = os.ReadFile(d.file); err != nil {
		return document{}, fmt.Errorf("read configuration: %w; or say the VIPs: --vips", err)
	}
	d.Config, _, err = config.Parse(d.file, d.data, "") // no node: it may be any host's
	return d, counted(err)
}

// eitherVIPsOrFile refuses a command line that gives both, and flags that only go with
// VIPs of the command line.
func eitherVIPsOrFile(cmd *cobra.Command, withVIPs ...string) error {
	vips := cmd.Flags().Changed("vips")
	if vips && cmd.Flags().Changed(config.FlagFile) {
		return usageError{errors.New("say --vips, or --config for those of a file")}
	}
	for _, name := range withVIPs {
		if !vips && cmd.Flags().Changed(name) {
			return usageError{fmt.Errorf("--%s goes with --vips; a file says that itself", name)}
		}
	}
	return nil
}
