package hub

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/tcpwatch/tcpwatch/capture/wire"
)

const (
	streamName = "tcpwatch"
	subjects   = "tcpwatch.segments."

	// The metadata of the stream.
	metaVersion    = "tcpwatch_wire"
	metaPartitions = "tcpwatch_partitions"
	metaKey        = "tcpwatch_key"

	// MaxPartitions is how many parts there are at most.
	MaxPartitions = 64

	// patience is how long a server is waited for that does not answer.
	patience = 5 * time.Second
)

// Options say how a hub is reached.
type Options struct {
	URL      string // nats://HOST:PORT, tls://HOST:PORT; several, with commas between, are servers of one cluster
	Key      string // a file of Keys, or credentials of NATS; "": none
	Insecure bool   // without encryption also where others may listen

	// Notice, unless nil, is told in a sentence when the hub is lost, and found again. Any
	// goroutine calls it.
	Notice func(string)
}

// A Conn is a connection to a hub.
type Conn struct {
	nc         *nats.Conn
	js         jetstream.JetStream
	stream     jetstream.Stream
	partitions int
	key        [32]byte
	written    int // the version that the hub asks for
}

// ErrPlain says that others could read along.
var ErrPlain = errors.New("is not on this host, and the connection is not encrypted")

// ErrNobody says that no server is there.
var ErrNobody = errors.New("no server answers there")

// dial connects to a server.
func dial(o Options) (*nats.Conn, error) {
	secure := false
	options := []nats.Option{
		nats.Name("tcpwatch"), nats.Timeout(patience), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectBufSize(-1),
	}
	if o.Notice == nil {
		options = append(options, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // else it prints
	} else {
		options = append(options,
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { o.Notice("the hub refuses: " + err.Error()) }),
			nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
				if err != nil {
					o.Notice(fmt.Sprintf("the connection to the hub at %s is lost: %v; trying again", o.URL, err))
				}
			}),
			nats.ReconnectHandler(func(nc *nats.Conn) { o.Notice("the hub is back, at " + nc.ConnectedUrlRedacted()) }))
	}
	if o.Key != "" {
		k, err := readKey(o.Key)
		if err != nil {
			return nil, err
		}
		options = append(options, k.login...)
		if k.tls != nil {
			secure, options = true, append(options, nats.Secure(k.tls))
		}
	}
	for _, server := range strings.Split(o.URL, ",") {
		if err := checkURL(server, secure || o.Insecure); err != nil {
			return nil, err
		}
	}
	nc, err := nats.Connect(o.URL, options...)
	if errors.Is(err, nats.ErrNoServers) {
		err = ErrNobody
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.URL, err)
	}
	return nc, nil
}

// checkURL reports whether a server can be reached by a URL without others reading along.
func checkURL(server string, allowed bool) error {
	if !strings.Contains(server, "://") {
		server = "nats://" + server
	}
	u, err := url.Parse(server)
	if err != nil {
		return err
	}
	switch u.Scheme {
	case "tls", "wss":
		return nil
	case "nats", "ws":
	default:
		return fmt.Errorf("%s: must begin with nats:// or tls://", server)
	}
	if !allowed && !isLoopback(u.Hostname()) {
		return fmt.Errorf("%s: %w", server, ErrPlain)
	}
	return nil
}

// isLoopback reports whether a host is this one.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// ErrNoHub says that a server of NATS is there, and not what a hub makes of it.
var ErrNoHub = errors.New("there is a NATS server, but no hub of tcpwatch on it")

// Connect connects to a hub.
func Connect(ctx context.Context, o Options) (*Conn, error) {
	nc, err := dial(o)
	if err != nil {
		return nil, err
	}
	c, err := open(ctx, nc)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("%s: %w", o.URL, err)
	}
	return c, nil
}

// open looks for the stream.
func open(ctx context.Context, nc *nats.Conn) (c *Conn, err error) {
	c = &Conn{nc: nc}
	if c.js, err = jetstream.New(nc, jetstream.WithPublishAsyncTimeout(patience), jetstream.WithPublishAsyncMaxPending(4*window)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	err = again(ctx, func(ctx context.Context) (err error) {
		c.stream, err = c.js.Stream(ctx, streamName)
		return err
	})
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, nats.ErrNoResponders):
		return nil, ErrNoHub
	case err != nil:
		return nil, err
	}
	return c, c.readMeta(c.stream.CachedInfo().Config.Metadata)
}

// readMeta reads what all must know.
func (c *Conn) readMeta(meta map[string]string) (err error) {
	if c.written, err = strconv.Atoi(meta[metaVersion]); err != nil || c.written < 1 {
		return ErrNoHub
	}
	if c.partitions, err = strconv.Atoi(meta[metaPartitions]); err != nil || c.partitions < 1 || c.partitions > MaxPartitions {
		return fmt.Errorf("the hub has %q partitions: must be 1 to %d", meta[metaPartitions], MaxPartitions)
	}
	key, err := hex.DecodeString(meta[metaKey])
	if err != nil || len(key) != len(c.key) {
		return errors.New("the hub has no key for hashes of payloads")
	}
	copy(c.key[:], key)
	return nil
}

// readable reports whether this tcpwatch reads what sensors may have sent to the hub.
func (c *Conn) readable() error {
	if c.written > wire.Version {
		return fmt.Errorf("the hub is newer than this tcpwatch: it has messages of version %d, and this reads up to %d", c.written, wire.Version)
	}
	return nil
}

// PayloadKey returns the key that all sensors hash payloads with.
func (c *Conn) PayloadKey() *[32]byte { return &c.key }

// Close closes the connection.
func (c *Conn) Close() error {
	c.nc.Close()
	return nil
}

// A Keep says what a hub stores, and how long.
type Keep struct {
	For        time.Duration // 0: for ever
	Bytes      int64         // 0: no limit
	Partitions int           // of a hub that is new
	Replicas   int           // servers of a cluster that store it
}

// Create makes the stream of a hub on a server, or changes what it keeps.
func Create(ctx context.Context, o Options, k Keep) (*Conn, error) {
	nc, err := dial(o)
	if err != nil {
		return nil, err
	}
	c, err := create(ctx, nc, k)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("%s: %w", o.URL, err)
	}
	return c, nil
}

// create is Create on a connection.
func create(ctx context.Context, nc *nats.Conn, k Keep) (*Conn, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 4*patience) // a cluster may have to find its leader first
	defer cancel()
	meta, err := metaOf(ctx, js, k)
	if err != nil {
		return nil, err
	}
	config := jetstream.StreamConfig{
		Name: streamName, Description: "segments of TCP, from the sensors of tcpwatch", Subjects: []string{subjects + "*.*.*"},
		Storage: jetstream.FileStorage, Discard: jetstream.DiscardOld, MaxAge: k.For, MaxBytes: k.Bytes, Replicas: max(k.Replicas, 1),
		MaxMsgSize: wire.MaxMessage, AllowDirect: true, Metadata: meta,
	}
	if config.MaxBytes == 0 {
		config.MaxBytes = -1
	}
	if err := again(ctx, func(ctx context.Context) error {
		_, err := js.CreateOrUpdateStream(ctx, config)
		return err
	}); err != nil {
		return nil, err
	}
	return open(ctx, nc)
}

// again tries something until that works, or it will not.
func again(ctx context.Context, try func(context.Context) error) error {
	for {
		one, cancel := context.WithTimeout(ctx, patience/2)
		err := try(one)
		cancel()
		if err == nil || ctx.Err() != nil || !isPassing(err) {
			return err
		}
		time.Sleep(retryAfter)
	}
}

// isPassing reports whether an error may be one of a server that is away for a moment, or
// of a cluster that has not found its leaders yet.
func isPassing(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrDisconnected) ||
		errors.As(err, &api) && api.Code == 503
}

// metaOf returns the metadata of the stream: what is there stays, but for the version.
func metaOf(ctx context.Context, js jetstream.JetStream, k Keep) (map[string]string, error) {
	meta := map[string]string{metaVersion: strconv.Itoa(wire.Version), metaPartitions: strconv.Itoa(max(k.Partitions, 1))}
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return nil, err
	}
	meta[metaKey] = hex.EncodeToString(key[:])
	var was jetstream.Stream
	err := again(ctx, func(ctx context.Context) (err error) {
		was, err = js.Stream(ctx, streamName)
		return err
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return meta, nil
	}
	if err != nil {
		return nil, err
	}
	c := new(Conn)
	old := was.CachedInfo().Config.Metadata
	if err := c.readMeta(old); err != nil {
		return nil, err
	}
	if c.written > wire.Version {
		return nil, fmt.Errorf("what is stored there was written by a later tcpwatch (version %d of the messages, and this one has %d)", c.written, wire.Version)
	}
	meta[metaPartitions], meta[metaKey] = old[metaPartitions], old[metaKey]
	return meta, nil
}

// subjectOf returns the subject of the messages of a run in a partition.
func subjectOf(partition int, sensor string, run uint64) string {
	return fmt.Sprintf("%s%d.%s.%016x", subjects, partition, sensor, run)
}

// parseSubject is the reverse of subjectOf.
func parseSubject(subject string) (partition int, id runID, ok bool) {
	rest, found := strings.CutPrefix(subject, subjects)
	parts := strings.Split(rest, ".")
	if !found || len(parts) != 3 {
		return 0, id, false
	}
	partition, err := strconv.Atoi(parts[0])
	run, err2 := strconv.ParseUint(parts[2], 16, 64)
	return partition, runID{parts[1], run}, err == nil && err2 == nil && partition >= 0
}

// A runID names a run of a sensor.
type runID struct {
	sensor string
	run    uint64
}

// CheckName reports whether a sensor can have that name.
func CheckName(name string) error {
	const most = 64
	bad := strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
	})
	if name == "" || len(name) > most || bad {
		return fmt.Errorf("%q: must be 1 to %d letters, digits, - and _", name, most)
	}
	return nil
}

// ServeOptions say how a server runs within tcpwatch.
type ServeOptions struct {
	Store    string // a folder
	Listen   string // HOST:PORT; a port of 0 is any
	Keys     string // a folder that MakeKeys has filled; "": everybody may connect
	Insecure bool   // without encryption also where others may listen
	Keep     Keep

	// Notice, unless nil, is told in a sentence that nothing can be stored, and that it can
	// again. Another goroutine calls it.
	Notice func(string)
}
