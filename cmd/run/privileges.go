package run

import (
	"errors"
	"os"
	"os/user"
	"strconv"
)

// DefaultUser is whom live becomes if it was started as root.
const DefaultUser = "nobody"

// currentUser names the user whom the process runs as.
func currentUser() string {
	id := strconv.Itoa(os.Geteuid())
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// errKeepsRights says that capabilities could not be given up, which is worth a
// warning, but is no reason not to go on.
var errKeepsRights = errors.New("this build uses cgo and keeps the file's capabilities; a build with CGO_ENABLED=0 drops them")
