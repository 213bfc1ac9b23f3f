#pragma once
#include "net/certificate_files.h"

namespace epif::proxy {

using net::CertificateFiles;
using net::Certified;

}  // namespace epif::proxy
