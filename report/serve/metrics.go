package serve

import (
	"cmp"
	"fmt"
	"maps"
	"runtime/metrics"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/tcpwatch/tcpwatch/report/record"
	"github.com/tcpwatch/tcpwatch/tracker"
	"github.com/tcpwatch/tcpwatch/tracker/tcp"
)

// A metric is one that is exported. The list of them is the only place where
// one is named: report/README.md prints it. No label holds an address: how many
// series there are does not depend on the traffic; of programs and services there are
// no more than mostOwners.
type metric struct {
	name   string
	kind   string // counter, gauge, histogram
	labels []string
	help   string

	// Of a metric without labels that is read when it is asked for.
	value func(*frame) float64
}

// limited is the metric of limits, which has a series for each that was reached.
const limited = "tcpwatch_limited_total"

// The metrics by whose the ends are, one of which Options.MetricsBy asks for.
const perProgram, perService = "tcpwatch_program_connections", "tcpwatch_service_connections"

// mostOwners is how many programs, or services, have series of their own.
const mostOwners = 100

var list = []metric{
	{"tcpwatch_connections", "gauge", []string{"endpoint", "state"}, "Ends of the tracked connections, by state.", nil},
	{"tcpwatch_connections_seen_total", "counter", []string{"origin"}, "Connections seen, by how they were first seen: SYN, SYN+ACK or midstream.", nil},
	{"tcpwatch_transitions_total", "counter", []string{"endpoint", "from", "to"}, "Changes of state, by end.", nil},
	{"tcpwatch_anomalies_total", "counter", []string{"kind", "severity"}, "Anomalies found.", nil},
	{"tcpwatch_handshake_rtt_seconds", "histogram", nil, "Time from the SYN to the ACK that ends the handshake, without handshakes with a retransmitted SYN.", nil},
	{"tcpwatch_captured_packets_total", "counter", nil, "Packets that the capture delivered.", count(func(s *record.Summary) uint64 { return s.Packets })},
	{"tcpwatch_captured_bytes_total", "counter", nil, "Bytes of these packets on the wire.", count(func(s *record.Summary) uint64 { return s.Bytes })},
	{"tcpwatch_filtered_packets_total", "counter", nil, "Of these packets, those that the filter excluded.", count(func(s *record.Summary) uint64 { return s.Filtered })},
	{"tcpwatch_segments_total", "counter", nil, "Of these packets, those with a TCP segment.", count(func(s *record.Summary) uint64 { return s.TCPPackets })},
	{"tcpwatch_undecodable_packets_total", "counter", nil, "Of these packets, those whose headers could not be read.", count(func(s *record.Summary) uint64 { return s.Undecodable })},
	{"tcpwatch_misdated_packets_total", "counter", nil, "Of these packets, those whose wrong timestamps were corrected.", count(func(s *record.Summary) uint64 { return s.Misdated })},
	{"tcpwatch_dropped_packets_total", "counter", nil, "Packets that the capture lost, not included in those delivered.", count(func(s *record.Summary) uint64 { return s.Dropped })},
	{"tcpwatch_evicted_connections_total", "counter", nil, "Connections evicted to stay within --max-connections or --max-memory.", count(func(s *record.Summary) uint64 { return s.Evicted })},
	{perProgram, "gauge", []string{"endpoint", "program", "state"}, "With `--metrics-by program`: ends of the tracked connections whose program is known, by state. Of more than 100 programs the others are `other`.", nil},
	{perService, "gauge", []string{"endpoint", "service", "state"}, "With `--metrics-by service`: the same by systemd unit, or container.", nil},
	{limited, "counter", []string{"limit"}, "What was left out to stay within a limit; tcpwatch help limits lists them.", nil},
	{"tcpwatch_refresh_timestamp_seconds", "gauge", nil, "Time of the other values, by the capture's clock.", func(f *frame) float64 { return float64(f.snapshot.Time) / 1e9 }},
	{"tcpwatch_memory_bytes", "gauge", nil, "Memory that the process has from the operating system.", func(*frame) float64 { return float64(memory()) }},
}

// count returns a value of the summary.
func count(of func(*record.Summary) uint64) func(*frame) float64 {
	return func(f *frame) float64 { return float64(of(&f.snapshot.Summary)) }
}

// memory returns how much memory the Go runtime has mapped, in octets.
func memory() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// MetricsMarkdown draws the list of metrics as a GitHub table.
func MetricsMarkdown() []byte {
	var b []byte
	b = append(b, "| metric | type | labels | what it is |\n| --- | --- | --- | --- |\n"...)
	for _, m := range list {
		b = fmt.Appendf(b, "| `%s` | %s | %s | %s |\n", m.name, m.kind, strings.Join(m.labels, ", "), m.help)
	}
	return b
}

// serverMetrics are those of one Server. It is a collector of what is read from the
// newest frame; the others count by themselves.
type serverMetrics struct {
	registry    *prometheus.Registry
	newest      func() *frame
	owned       string             // perProgram, or perService; "": neither
	descs       []*prometheus.Desc // of the list
	seen        [3]prometheus.Counter
	transitions [2][16][16]prometheus.Counter // by end, from, to; nil until there is one
	transition  *prometheus.CounterVec
	anomalies   *prometheus.CounterVec
	rtt         prometheus.Histogram
	timed       map[int]bool // connections whose handshake is in rtt: of the newest frame, and over since
}

// newMetrics returns the metrics of a Server.
func newMetrics(s *Server) *serverMetrics {
	m := &serverMetrics{registry: prometheus.NewRegistry(), newest: s.frame.Load, timed: make(map[int]bool), owned: ownedMetrics[s.opts.MetricsBy]}
	for _, row := range list {
		m.descs = append(m.descs, prometheus.NewDesc(row.name, row.help, row.labels, nil))
		vec := func() *prometheus.CounterVec {
			v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: row.name, Help: row.help}, row.labels)
			m.registry.MustRegister(v)
			return v
		}
		switch row.name {
		case "tcpwatch_connections_seen_total":
			v := vec()
			for o := range m.seen {
				m.seen[o] = v.WithLabelValues(tcp.Origin(o).String())
			}
		case "tcpwatch_transitions_total":
			m.transition = vec()
		case "tcpwatch_anomalies_total":
			m.anomalies = vec()
		case "tcpwatch_handshake_rtt_seconds":
			m.rtt = prometheus.NewHistogram(prometheus.HistogramOpts{Name: row.name, Help: row.help, Buckets: rttBuckets})
			m.registry.MustRegister(m.rtt)
		}
	}
	m.registry.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// rttBuckets are for round trips inside a host and around the world, and for
// SYNs that wait.
var rttBuckets = []float64{1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5, 10}

// event counts an event.
func (m *serverMetrics) event(e *tracker.Event) {
	switch e.Kind {
	case tracker.EventOpen:
		m.seen[e.Origin].Inc()
	case tracker.EventTransition:
		c := &m.transitions[e.End][e.From][e.To]
		if *c == nil {
			*c = m.transition.WithLabelValues(e.End.String(), e.From.String(), e.To.String())
		}
		(*c).Inc()
	case tracker.EventConnection:
		if e.Record.HandshakeRTT != 0 && !m.timed[e.Conn] { // it may be in no Snapshot
			m.timed[e.Conn] = true
			m.rtt.Observe(e.Record.HandshakeRTT.Seconds())
		}
	case tracker.EventAnomaly:
		if e.Anomaly.Withdrawn {
			return
		}
		m.anomalies.WithLabelValues(e.Anomaly.Kind, e.Anomaly.Severity.String()).Inc()
	}
}

// refresh counts the handshakes of a Snapshot that were not counted yet.
func (m *serverMetrics) refresh(s *record.Snapshot) {
	timed := make(map[int]bool)
	for _, r := range s.Records {
		if r.HandshakeRTT == 0 {
			continue
		}
		timed[r.Conn] = true
		if !m.timed[r.Conn] {
			m.rtt.Observe(r.HandshakeRTT.Seconds())
		}
	}
	m.timed = timed
}

// Describe tells what Collect collects.
func (m *serverMetrics) Describe(descs chan<- *prometheus.Desc) {
	descs <- m.descs[0]
	for i, row := range list {
		if row.value != nil || row.name == limited || row.name == perProgram || row.name == perService {
			descs <- m.descs[i]
		}
	}
}

// Collect collects what is read from the newest frame.
func (m *serverMetrics) Collect(to chan<- prometheus.Metric) {
	f := m.newest()
	for _, s := range append(tcp.States(), tcp.Unknown) {
		for e := range tcp.Endpoint(2) {
			to <- prometheus.MustNewConstMetric(m.descs[0], prometheus.GaugeValue, float64(f.states[s][e]), e.String(), s.String())
		}
	}
	for i, row := range list {
		if row.name == limited {
			for _, l := range f.snapshot.Summary.Limits {
				to <- prometheus.MustNewConstMetric(m.descs[i], prometheus.CounterValue, float64(l.Cut), l.Name)
			}
		}
		if row.name == m.owned {
			m.collectOwned(to, m.descs[i], f.snapshot)
		}
		if row.value == nil {
			continue
		}
		kind := prometheus.GaugeValue
		if row.kind == "counter" {
			kind = prometheus.CounterValue
		}
		to <- prometheus.MustNewConstMetric(m.descs[i], kind, row.value(f))
	}
}

// ownedMetrics are the metrics that Options.MetricsBy asks for.
var ownedMetrics = map[string]string{"": "", "program": perProgram, "service": perService}

// MetricsBy returns what Options.MetricsBy may be.
func MetricsBy() []string { return []string{"program", "service"} }

// collectOwned collects the ends of a Snapshot by whose they are, those with the most ends
// by name.
func (m *serverMetrics) collectOwned(to chan<- prometheus.Metric, desc *prometheus.Desc, s *record.Snapshot) {
	type counts struct {
		name string
		ends int
		by   [2][16]int
	}
	known := make(map[string]*counts)
	for _, r := range s.Records {
		for e := range r.Ends {
			if r.Ends[e].Socket == nil {
				continue
			}
			o := &r.Ends[e].Socket.Owner
			name := o.Program
			if m.owned == perService {
				name = cmp.Or(o.Unit, o.Container)
			}
			if name == "" {
				continue
			}
			c := known[name]
			if c == nil {
				c = &counts{name: strings.ToValidUTF8(name, "\uFFFD")}
				known[name] = c
			}
			c.ends++
			c.by[e][r.Ends[e].State]++
		}
	}
	all := slices.SortedFunc(maps.Values(known), func(a, b *counts) int {
		return cmp.Or(cmp.Compare(b.ends, a.ends), strings.Compare(a.name, b.name))
	})
	sums := make(map[string]*counts) // names that are the same once they are valid, too
	for i, c := range all {
		if i >= mostOwners {
			c.name = "other"
		}
		sum := sums[c.name]
		if sum == nil {
			sum = &counts{name: c.name}
			sums[c.name] = sum
		}
		for e := range c.by {
			for state, n := range c.by[e] {
				sum.by[e][state] += n
			}
		}
	}
	for _, c := range sums {
		for e := range c.by {
			for state, n := range c.by[e] {
				if n > 0 {
					to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), tcp.Endpoint(e).String(), c.name, tcp.State(state).String())
				}
			}
		}
	}
}
