//go:build !nohub

package hub

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// useKeys has a server take those alone that have one of the keys in a folder, and
// encrypts.
func useKeys(o *server.Options, folder string) error {
	path := filepath.Join(folder, serverFile)
	pair, err := tls.LoadX509KeyPair(path, path)
	if err != nil {
		return err
	}
	o.TLS, o.TLSTimeout = true, patience.Seconds()
	o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	users, err := os.ReadFile(filepath.Join(folder, usersFile))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(users)) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if len(words) != 3 || CheckName(words[1]) != nil || !nkeys.IsValidPublicUserKey(words[2]) {
			return fmt.Errorf("%s: %q is not a role, a name and a public key", filepath.Join(folder, usersFile), strings.TrimSpace(line))
		}
		user := &server.NkeyUser{Nkey: words[2]}
		if user.Permissions, err = permissions(words[0], words[1], words[2]); err != nil {
			return err
		}
		o.Nkeys = append(o.Nkeys, user)
	}
	return nil
}

// permissions returns what somebody may do; nil: all.
func permissions(role, name, public string) (*server.Permissions, error) {
	const api = "$JS.API."
	allow := []string{api + "STREAM.INFO." + streamName}
	switch own := subjects + "*." + name + ".*"; role {
	case roleHub:
		return nil, nil
	case roleSensor:
		allow = append(allow, own, api+"DIRECT.GET."+streamName+"."+own)
	case roleReader:
		for _, what := range []string{"CREATE.%s.>", "INFO.%s.*", "DELETE.%s.*", "MSG.NEXT.%s.*"} {
			allow = append(allow, api+"CONSUMER."+fmt.Sprintf(what, streamName))
		}
		allow = append(allow, api+"DIRECT.GET."+streamName+".>")
	default:
		return nil, fmt.Errorf("%q is not a valid role: must be %s, %s or %s", role, roleHub, roleSensor, roleReader)
	}
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: allow},
		Subscribe: &server.SubjectPermission{Allow: []string{inboxOf(public) + ".>"}},
	}, nil
}
