package run

import (
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
