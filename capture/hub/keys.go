package hub

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Who connects to a hub that has keys has one of them in a file, with the certificate
// by which the hub is known. The hub has their public halves, and what each may do: a
// sensor may send under its own name alone, a reader only read.
//
//	server.pem        the certificate of the hub, and its private key
//	users             a line for each: role, name, public key
//	hub.key           the hub's own
//	sensor-NAME.key   to be given to that sensor
//	reader-NAME.key   to be given to that reader

const (
	roleHub    = "hub"
	roleSensor = "sensor"
	roleReader = "reader"

	serverFile = "server.pem"
	usersFile  = "users"

	keyBlock    = "TCPWATCH HUB KEY"
	certificate = "CERTIFICATE"

	// serverName is what the certificate says the hub is called, wherever it is.
	serverName = "tcpwatch-hub"

	// validFor is how long the certificate is valid.
	validFor = 10 * 365 * 24 * time.Hour
)

// MakeKeys makes keys in a folder for sensors and readers of those names, and what the
// hub itself needs if it is not there yet. It returns the files that are new. A key
// that is there stays.
func MakeKeys(folder string, sensors, readers []string) (files []string, err error) {
	for _, name := range append(sensors[:len(sensors):len(sensors)], readers...) {
		if err := CheckName(name); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	cert, err := serverCertificate(folder)
	if err != nil {
		return nil, err
	}
	add := func(role, name string) error {
		path := keyFile(folder, role, name)
		made, err := makeKey(folder, path, role, name, cert)
		if made {
			files = append(files, path)
		}
		return err
	}
	if err := add(roleHub, roleHub); err != nil {
		return files, err
	}
	for _, name := range sensors {
		if err := add(roleSensor, name); err != nil {
			return files, err
		}
	}
	for _, name := range readers {
		if err := add(roleReader, name); err != nil {
			return files, err
		}
	}
	return files, nil
}

// keyFile returns where the key of somebody is.
func keyFile(folder, role, name string) string {
	if role == roleHub {
		return filepath.Join(folder, "hub.key")
	}
	return filepath.Join(folder, role+"-"+name+".key")
}

// serverCertificate returns the certificate of the hub, as PEM, and makes it if it is
// not there.
func serverCertificate(folder string) (cert []byte, err error) {
	path := filepath.Join(folder, serverFile)
	both, err := os.ReadFile(path)
	if err == nil {
		for block, rest := pem.Decode(both); block != nil; block, rest = pem.Decode(rest) {
			if block.Type == certificate {
				return pem.EncodeToMemory(block), nil
			}
		}
		return nil, fmt.Errorf("%s has no certificate", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: serverName}, DNSNames: []string{serverName},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(validFor), BasicConstraintsValid: true, IsCA: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: certificate, Bytes: der})
	return cert, os.WriteFile(path, append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), cert...), 0o600)
}

// makeKey makes a key, unless it is there.
func makeKey(folder, path, role, name string, cert []byte) (made bool, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return false, err
	}
	defer pair.Wipe()
	seed, err := pair.Seed()
	if err != nil {
		return false, err
	}
	public, err := pair.PublicKey()
	if err != nil {
		return false, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = f.Write(append(pem.EncodeToMemory(&pem.Block{Type: keyBlock, Headers: map[string]string{"Role": role, "Name": name}, Bytes: seed}), cert...))
	if err = errors.Join(err, f.Close()); err != nil {
		return false, err
	}
	users, err := os.OpenFile(filepath.Join(folder, usersFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return false, err
	}
	_, err = fmt.Fprintln(users, role, name, public)
	return true, errors.Join(err, users.Close())
}

// A key is what is in the file of one.
type key struct {
	login []nats.Option
	tls   *tls.Config // nil: it says nothing of the hub's certificate
}

// readKey reads the file of a key, or of credentials of NATS.
func readKey(path string) (k key, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return k, err
	}
	if bytes.Contains(b, []byte("BEGIN NATS USER JWT")) {
		k.login = []nats.Option{nats.UserCredentials(path)}
		return k, nil
	}
	certificates := x509.NewCertPool()
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case certificate:
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return k, fmt.Errorf("%s: %w", path, err)
			}
			certificates.AddCert(cert)
			k.tls = &tls.Config{RootCAs: certificates, ServerName: serverName, MinVersion: tls.VersionTLS13}
		case keyBlock:
			pair, err := nkeys.FromSeed(block.Bytes)
			if err != nil {
				return k, fmt.Errorf("%s: %w", path, err)
			}
			public, err := pair.PublicKey()
			if err != nil {
				return k, fmt.Errorf("%s: %w", path, err)
			}
			k.login = []nats.Option{nats.Nkey(public, pair.Sign), nats.CustomInboxPrefix(inboxOf(public))}
		}
	}
	if k.login == nil {
		return k, fmt.Errorf("%s: is neither a key of tcpwatch hub keys nor credentials of NATS", path)
	}
	return k, nil
}

// inboxOf returns where answers come in, for nobody else to read.
func inboxOf(public string) string { return "_INBOX_" + public }
